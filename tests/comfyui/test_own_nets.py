"""Files read by our own nets: the same latents as the MODEL that they were saved from, by ComfyUI's nodes and ours."""

from __future__ import annotations

import time

import pytest
from comfyui.graphs import kept, node
from comfyui.model_graphs import CHANGED, EXACT, SEED, STEPS, apart, latents, ours, theirs
from comfyui.test_from_model_running import alive

pytestmark = pytest.mark.comfyui

# The kind, the family of its text encoder, and what the file cannot tell.
KINDS = {
    "sd15": ("sd15", "auto"),
    "sd15_v": ("sd15", "v"),
    "sdxl": ("sdxl", "auto"),
    "flux": ("flux", "auto"),
}
FAMILIES = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def saved(comfy_server):
    """saved(kind, vae=False) -> the name of the file, on Load Denoiser's menu."""
    made = {}

    def save(kind: str, vae: bool = False) -> str:
        name = f"{kind}{' whole' if vae else ''}"
        if name not in made:
            prompt = {
                "model": node("ProbePublishedModel", kind=kind),
                "vae": node("ProbeVAE", channels=4),
                "save": node("ProbeSaveCheckpoint", model=["model", 0], name=name, vae=["vae", 0] if vae else None),
            }
            comfy_server.run(prompt)
            made[name] = f"checkpoints/{name}.safetensors"
        return made[name]

    return save


def graph(kind: str, file: str, **nodes: dict) -> dict:
    family, prediction = KINDS.get(kind, ("sd15", "auto"))
    texts = {"positive": (1, 7), "other": (2, 7), "longer": (4, 14), "negative": (3, 7)}
    loaded = node("VarifoldLoadDenoiser", file=file, precision="float32", prediction=prediction)
    return {
        "model": node("ProbePublishedModel", kind=kind),
        "loaded": loaded,
        **{
            name: node("ProbePublishedText", family=family, seed=seed, tokens=tokens)
            for name, (seed, tokens) in texts.items()
        },
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=STEPS, denoise=1.0),
        "noise": node("VarifoldNoise", seed=SEED),
        "latent": node("EmptyLatentImage", width=64, height=48, batch_size=2),
    } | nodes


def own(name: str, **changes: object) -> dict:
    """Our Sampler on the file, as the node `name`."""
    return ours(name, **{"denoiser": ["loaded", 0], **changes})


@FAMILIES
def test_the_same_latents_as_comfyui_and_from_model(comfy_server, saved, kind):
    prompt = graph(kind, saved(kind)) | ours("from model")
    for solver in ("euler", "dpmpp_2m", "euler_cfg_pp"):
        prompt |= own(f"own {solver}", solver=solver) | theirs(f"their {solver}", solver=solver)
    prompt |= own("prompted otherwise", positive=["other", 0]) | own("unguided", guidance=1.0)
    run = comfy_server.run(prompt)
    for solver in ("euler", "dpmpp_2m", "euler_cfg_pp"):
        assert apart(*latents(comfy_server, run, f"own {solver}", f"their {solver}")) < EXACT, solver
    mine, same, *others = latents(
        comfy_server, run, "own euler", "from model", "own dpmpp_2m", "prompted otherwise", "unguided"
    )
    assert mine.std() > 0.5 and apart(mine, same) < EXACT
    assert all(apart(mine, other) > CHANGED for other in others)


def test_prompts_of_different_lengths(comfy_server, saved):
    prompt = graph("sd15", saved("sd15"))
    prompt |= own("mine", positive=["longer", 0]) | theirs("theirs", positive=["longer", 0])
    run = comfy_server.run(prompt)
    assert apart(*latents(comfy_server, run, "mine", "theirs")) < EXACT


def test_the_sizes_that_sdxl_is_told(comfy_server, saved):
    sizes = node("ProbeSizes", conditioning=["positive", 0], width=640, crop_w=32)
    prompt = graph("sdxl", saved("sdxl"), sized=sizes) | own("plain")
    prompt |= own("mine", positive=["sized", 0]) | theirs("theirs", positive=["sized", 0])
    run = comfy_server.run(prompt)
    mine, other, plain = latents(comfy_server, run, "mine", "theirs", "plain")
    assert apart(mine, other) < EXACT and apart(mine, plain) > CHANGED


def test_the_guidance_that_flux_is_told(comfy_server, saved):
    told = node("FluxGuidance", conditioning=["positive", 0], guidance=30.0)
    prompt = graph("flux", saved("flux"), told=told) | own("plain", guidance=1.0)
    prompt |= own("mine", positive=["told", 0], guidance=1.0) | theirs("theirs", positive=["told", 0], cfg=1.0)
    run = comfy_server.run(prompt)
    mine, other, plain = latents(comfy_server, run, "mine", "theirs", "plain")
    assert apart(mine, other) < EXACT and apart(mine, plain) > CHANGED


def repainting(file: str, kind: str) -> dict:
    """A picture of which the middle is repainted."""
    nodes = {
        "picture": node("ProbePicture", width=64, height=48),
        "vae": node("ProbeVAE", channels=4),
        "centre": node("SolidMask", value=1.0, width=24, height=24),
        "around": node("SolidMask", value=0.0, width=64, height=48),
        "mask": node("MaskComposite", destination=["around", 0], source=["centre", 0], x=16, y=8, operation="add"),
        "encoded": node("VAEEncode", pixels=["picture", 0], vae=["vae", 0]),
        "latent": node("SetLatentNoiseMask", samples=["encoded", 0], mask=["mask", 0]),
    }
    return graph(kind, file, **nodes)


def test_repainting_a_part(comfy_server, saved):
    prompt = repainting(saved("sd15"), "sd15")
    prompt |= own("mine") | theirs("theirs") | own("plain", latent=["encoded", 0])
    run = comfy_server.run(prompt)
    mine, other, plain = latents(comfy_server, run, "mine", "theirs", "plain")
    assert apart(mine, other) < EXACT and apart(mine, plain) > CHANGED


def test_a_net_made_for_repainting(comfy_server, saved):
    conds = {"positive": ["positive", 0], "negative": ["negative", 0]}
    told = node("InpaintModelConditioning", **conds, vae=["vae", 0], pixels=["picture", 0], mask=["mask", 0],
                noise_mask=True)  # fmt: skip
    prompt = repainting(saved("sd15_inpainting"), "sd15_inpainting") | {"told": told}
    wires = {"positive": ["told", 0], "negative": ["told", 1]}
    prompt |= own("mine", latent=["told", 2], **wires) | theirs("theirs", latent_image=["told", 2], **wires)
    run = comfy_server.run(prompt)
    assert apart(*latents(comfy_server, run, "mine", "theirs")) < EXACT


def test_a_full_checkpoint_brings_its_autoencoder(comfy_server, saved):
    prompt = graph("sd15", saved("sd15", vae=True), vae=node("ProbeVAE", channels=4)) | own("mine", guidance=1.0)
    prompt |= own("by the vae", guidance=1.0, vae=["vae", 0])
    run = comfy_server.run(prompt)
    mine, other = (kept(comfy_server, run, f"keep {name}")["image"] for name in ("mine", "by the vae"))
    assert mine.shape == (2, 48, 64, 3) and mine.std() > 0.01
    assert abs(mine - other).max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"positive": ["area", 0]}, "cannot follow a CONDITIONING with area"),
        ({"positive": ["wide", 0]}, "a text encoder of its own family: its tokens should be 768 wide"),
        ({"positive": None}, "wire positive"),
        ({"negative": None}, "negative: wire it"),
    ],
)
def test_what_it_cannot_follow_is_said(comfy_server, saved, changes, told):
    nodes = {
        "area": node("ConditioningSetArea", conditioning=["positive", 0], width=64, height=64, x=0, y=0, strength=1.0),
        "wide": node("ProbePublishedText", family="sdxl", seed=1, tokens=7),
    }
    error = comfy_server.run(graph("sd15", saved("sd15"), **nodes) | own("mine", **changes)).error
    assert told in error["exception_message"]


def test_comfyui_manages_the_memory_and_nothing_stays_once_the_workflow_is_cleared(comfy_server, saved):
    own_nets = {"LatentUNet", "TinyAutoencoder"}
    prompt = graph("sd15", saved("sd15", vae=True)) | own("mine", seed=11)
    run = comfy_server.run(prompt | {"tell": node("ProbeLoadedModels", after=["mine", 0])})
    assert own_nets <= set(run.outputs["tell"]["names"])
    assert own_nets <= alive(comfy_server)
    comfy_server.free()
    deadline = time.monotonic() + 10  # ComfyUI answers /free before it frees
    while own_nets & alive(comfy_server):
        assert time.monotonic() < deadline, "still in memory"
        time.sleep(0.1)
