"""Conditioning and patches of ComfyUI's nodes act behind our Sampler as in ComfyUI's own sampling, and do act."""

from __future__ import annotations

import pytest
import torch
from comfyui.graphs import kept, node, schedule
from comfyui.model_graphs import EXACT, apart, base, both, check, latents, ours, theirs
from safetensors.torch import save_file

pytestmark = pytest.mark.comfyui

SPACES = pytest.mark.parametrize("kind", ["sd15", "flux"])
UNETS = pytest.mark.parametrize("kind", ["sd15", "sdxl"])
LORA = "probe.safetensors"

LEFT = node("SolidMask", value=1.0, width=32, height=48)
NOWHERE = node("SolidMask", value=0.0, width=64, height=48)
LEFT_HALF = {
    "left": LEFT,
    "nowhere": NOWHERE,
    "left half": node("MaskComposite", destination=["nowhere", 0], source=["left", 0], x=0, y=0, operation="add"),
}


def compared(kind: str, *, model: str = "model", **nodes: dict) -> dict:
    """Ours and theirs on the node "changed", a CONDITIONING, and theirs without it as "plain"."""
    return base(kind, **nodes) | theirs("plain") | both(model, positive=["changed", 0])


def with_model(kind: str, **nodes: dict) -> dict:
    """Ours and theirs on the node "changed", a MODEL, and theirs without it as "plain"."""
    return base(kind, **nodes) | theirs("plain") | both("changed")


def combined(conditioning: str) -> dict:
    return node("ConditioningCombine", conditioning_1=["positive", 0], conditioning_2=[conditioning, 0])


# Conditioning


@SPACES
@pytest.mark.parametrize("strength", [1.0, 2.5])
def test_an_area(comfy_server, kind, strength):
    area = node("ConditioningSetArea", conditioning=["other", 0], width=64, height=64, x=24, y=0, strength=strength)
    wide = node("EmptyLatentImage", width=128, height=96, batch_size=2)
    check(comfy_server, compared(kind, area=area, changed=combined("area"), latent=wide))


@SPACES
@pytest.mark.parametrize("bounds", ["default", "mask bounds"])
def test_a_mask_of_the_conditioning(comfy_server, kind, bounds):
    inputs = {"conditioning": ["other", 0], "mask": ["left half", 0], "strength": 0.8, "set_cond_area": bounds}
    masked = node("ConditioningSetMask", **inputs)
    check(comfy_server, compared(kind, **LEFT_HALF, masked=masked, changed=combined("masked")))


@SPACES
def test_combine(comfy_server, kind):
    longer = node("ProbeText", seed=4, tokens=14)
    check(comfy_server, compared(kind, longer=longer, changed=combined("longer")))


@SPACES
def test_timestep_ranges(comfy_server, kind):
    first = node("ConditioningSetTimestepRange", conditioning=["positive", 0], start=0.0, end=0.1)
    then = node("ConditioningSetTimestepRange", conditioning=["other", 0], start=0.1, end=1.0)
    changed = node("ConditioningCombine", conditioning_1=["first", 0], conditioning_2=["then", 0])
    check(comfy_server, compared(kind, first=first, then=then, changed=changed))


def test_sizes_of_sdxl(comfy_server):
    sizes = node("ProbeSizes", conditioning=["positive", 0], width=2048, crop_w=512)
    check(comfy_server, compared("sdxl", changed=sizes))


def test_guidance_of_flux(comfy_server):
    check(comfy_server, compared("flux", changed=node("FluxGuidance", conditioning=["positive", 0], guidance=60.0)))


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux", "flux_latent"])
@pytest.mark.parametrize("end", [1.0, 0.6])
def test_a_controlnet(comfy_server, kind, end):
    inputs = {"positive": ["positive", 0], "negative": ["negative", 0], "control_net": ["net", 0]}
    inputs |= {"image": ["picture", 0], "strength": 0.7, "start_percent": 0.0, "end_percent": end}
    nodes = {"net": node("ProbeControlNet", kind=kind), "picture": node("ProbePicture")}
    if kind == "flux_latent":
        nodes["vae"], inputs["vae"] = node("ProbeVAE", channels=16), ["vae", 0]
    nodes["control"] = node("ControlNetApplyAdvanced", **inputs)
    prompt = (
        base(kind.partition("_")[0], **nodes) | theirs("plain") | both(positive=["control", 0], negative=["control", 1])
    )
    check(comfy_server, prompt)


# LoRAs


@pytest.fixture(scope="module")
def lora(comfy_server) -> None:
    """A LoRA of rank 2 on the first convolution of U-Nets and the first layer of Flux, among ComfyUI's files."""
    comfy_server.object_info()
    folder = comfy_server.models / "loras"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    tensors = {
        "input_blocks.0.0.lora_up": torch.randn(32, 2, 1, 1),
        "input_blocks.0.0.lora_down": torch.randn(2, 4, 3, 3),
        "img_in.lora_up": torch.randn(32, 2),
        "img_in.lora_down": torch.randn(2, 64),
    }
    tensors = {f"diffusion_model.{name}.weight": 0.2 * tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / LORA)


@pytest.mark.usefixtures("lora")
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_a_lora_and_the_model_without_it_in_one_graph(comfy_server, kind):
    patched = node("LoraLoaderModelOnly", model=["model", 0], lora_name=LORA, strength_model=0.8)
    prompt = with_model(kind, changed=patched) | ours("ours plain") | ours("ours again", model="changed", seed=8)
    run = check(comfy_server, prompt | {"tell": node("ProbeLoadedModels", after=["ours plain", 0])})
    assert apart(*latents(comfy_server, run, "ours plain", "plain")) < EXACT
    assert len(run.outputs["tell"]["names"]) == 1, "a clone shares the weights of its MODEL"


@pytest.mark.usefixtures("lora")
@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_a_lora_hook_on_one_of_two_prompts(comfy_server, kind):
    nodes = {
        "hook": node("CreateHookLoraModelOnly", lora_name=LORA, strength_model=0.8),
        "hooked": node(
            "ConditioningSetProperties", cond_NEW=["other", 0], strength=1.0, set_cond_area="default", hooks=["hook", 0]
        ),
    }
    prompt = compared(kind, **nodes, changed=combined("hooked"))
    prompt["plain guider"]["inputs"]["positive"] = ["unhooked", 0]
    check(comfy_server, prompt | {"unhooked": combined("other")})


@pytest.mark.usefixtures("lora")
@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_keyframes_of_a_lora_hook(comfy_server, kind):
    nodes = {
        "hook": node("CreateHookLoraModelOnly", lora_name=LORA, strength_model=0.8),
        "strong": node("CreateHookKeyframe", strength_mult=1.0, start_percent=0.0),
        "gone": node("CreateHookKeyframe", strength_mult=0.0, start_percent=0.5, prev_hook_kf=["strong", 0]),
        "keyed": node("SetHookKeyframes", hooks=["hook", 0], hook_kf=["gone", 0]),
    }
    common = {"cond_NEW": ["positive", 0], "strength": 1.0, "set_cond_area": "default"}
    nodes["always"] = node("ConditioningSetProperties", **common, hooks=["hook", 0])
    nodes["changed"] = node("ConditioningSetProperties", **common, hooks=["keyed", 0])
    prompt = compared(kind, **nodes)
    prompt["plain guider"]["inputs"]["positive"] = ["always", 0]
    check(comfy_server, prompt)


# Patches of the MODEL


@UNETS
@pytest.mark.parametrize(
    "patch",
    [
        ("RescaleCFG", {"multiplier": 0.9}),
        ("PerturbedAttentionGuidance", {"scale": 3.0}),
        ("ProbeCalls", {"name": "gain", "gain": 0.8}),
        ("ModelSamplingDiscrete", {"sampling": "v_prediction", "zsnr": False}),
    ],
    ids=lambda patch: patch[0],
)
def test_a_patch(comfy_server, kind, patch):
    name, inputs = patch
    check(comfy_server, with_model(kind, changed=node(name, model=["model", 0], **inputs)))


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("sd15", ("ModelSamplingDiscrete", {"sampling": "v_prediction", "zsnr": True})),
        ("sd15", ("ModelSamplingDiscrete", {"sampling": "x0", "zsnr": False})),
        ("sdxl", ("ModelSamplingContinuousEDM", {"sampling": "edm", "sigma_max": 80.0, "sigma_min": 0.01})),
        ("sd15", ("ModelSamplingSD3", {"shift": 2.0})),
        ("flux", ("ModelSamplingFlux", {"max_shift": 2.0, "base_shift": 1.0, "width": 256, "height": 256})),
        ("flux", ("ModelSamplingSD3", {"shift": 3.0})),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_patched_schedule(comfy_server, kind, patch):
    """The schedule of the patched MODEL, and Noise Schedule takes the same from it."""
    name, inputs = patch
    prompt = with_model(kind, changed=node(name, model=["model", 0], **inputs))
    common = {"scheduler": "normal", "steps": 5, "denoise": 1.0}
    prompt |= {
        "schedule": node("BasicScheduler", model=["changed", 0], **common),
        "plain schedule": node("BasicScheduler", model=["model", 0], **common),
        "our schedule": schedule("simple", steps=5, denoiser=["ours denoiser", 0]),
        "their schedule": node("BasicScheduler", model=["changed", 0], **common | {"scheduler": "simple"}),
    }
    prompt |= {f"keep {who}": node("ProbeKeep", sigmas=[f"{who} schedule", 0]) for who in ("our", "their")}
    prompt["plain"]["inputs"]["sigmas"] = ["plain schedule", 0]
    run = check(comfy_server, prompt)
    mine, other = (kept(comfy_server, run, f"keep {who}")["sigmas"] for who in ("our", "their"))
    assert mine == pytest.approx(other, rel=1e-5)
