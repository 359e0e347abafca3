"""Style Model in the real ComfyUI: a MODEL of each family draws in a style, by ComfyUI's own samplers and patches."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from comfyui.graphs import failure, node
from comfyui.model_graphs import CHANGED, EXACT, SEED, apart, base, latents, ours, theirs
from comfyui.server import ComfyServer, Run
from comfyui.test_from_model_conditioning import LORA, lora  # noqa: F401

pytestmark = pytest.mark.comfyui

FAMILIES = pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
LAYERS = {"style": "style only", "all": "style and composition"}
SAME = 1e-5
FAINT = 1e-6  # a strength at which a MODEL draws as without a style, if all else acts as ever


def style_model(model: str = "model", style: str = "picture", layers: str = "all", **changes: object) -> dict:
    inputs = {"strength": 0.7, "start_percent": 0.0, "end_percent": 1.0, "seed": 3, "vae": ["vae", 0]}
    return node("VarifoldStyleModel", model=[model, 0], style=[style, 0], layers=LAYERS[layers], **inputs | changes)


def graph(kind: str, batch: int = 1, **nodes: dict) -> dict:
    """A MODEL, its VAE, pictures of other sizes than what is drawn, and the noise levels at which pictures matter."""
    common = {
        "schedule": node("BasicScheduler", model=["model", 0], scheduler="normal", steps=4, denoise=0.25),
        "vae": node("ProbeVAE", channels=16 if kind.startswith("flux") else 4),
        "picture": node("ProbePicture", width=90, height=70),
        "other picture": node("ProbePicture", width=40, height=70, seed=1),
        "small picture": node("ProbePicture"),
        "encoded": node("VAEEncode", pixels=["small picture", 0], vae=["vae", 0]),
    }
    return base(kind, batch, **common | nodes)


def drawn(*models: str, suffix: str = "", **changes: object) -> dict:
    """A kept sampler "by NAME" for each node of a MODEL."""
    prompts = (theirs(f"by {model}{suffix}", model=model, **changes) for model in models)
    return {name: each for prompt in prompts for name, each in prompt.items()}


def by(server: ComfyServer, run: Run, *names: str) -> list[np.ndarray]:
    return latents(server, run, *(f"by {name}" for name in names))


# What a style does

MODELS = {
    "none": style_model(strength=0.0),
    "full": style_model(strength=1.0),
    "again": style_model(strength=1.0),
    "usual": style_model(),
    "style only": style_model(layers="style"),
    "other style": style_model(style="other picture"),
    "other seed": style_model(seed=4),
    "early": style_model(end_percent=0.9),
    "never": style_model(end_percent=0.5),
    "twice": style_model(style_2=["picture", 0], weight=0.2),
    "two": style_model(style_2=["other picture", 0]),
    "one of two": style_model(style_2=["other picture", 0], weight_2=0.0),
    "both": style_model(style="both pictures"),
    "then": style_model(model="early", style="other picture", start_percent=0.9),
}
OTHER = [
    ("full", "model"),
    ("usual", "model"),
    ("usual", "full"),
    ("style only", "model"),
    ("style only", "usual"),
    ("other style", "usual"),
    ("other seed", "usual"),
    ("early", "model"),
    ("early", "usual"),
    ("two", "usual"),
    ("two", "other style"),
    ("both", "usual"),
    ("then", "early"),
]


@pytest.fixture(scope="module")
def pictures(comfy_server):
    """`pictures(kind)`: what the "model" draws, and each of MODELS."""

    @cache
    def draw(kind: str) -> dict[str, np.ndarray]:
        scale = {"upscale_method": "area", "width": 90, "height": 70, "crop": "center"}
        nodes = {"scaled": node("ImageScale", image=["other picture", 0], **scale)}
        nodes["both pictures"] = node("ImageBatch", image1=["picture", 0], image2=["scaled", 0])
        names = ["model", *MODELS]
        run = comfy_server.run(graph(kind, **nodes) | MODELS | drawn(*names))
        return dict(zip(names, by(comfy_server, run, *names), strict=True))

    return draw


@FAMILIES
def test_without_strength_or_outside_its_interval_the_model_is_as_it_was(pictures, kind):
    assert np.array_equal(pictures(kind)["none"], pictures(kind)["model"])
    assert np.array_equal(pictures(kind)["never"], pictures(kind)["model"])


@FAMILIES
@pytest.mark.parametrize(("one", "other"), OTHER, ids=lambda name: name)
def test_what_a_style_changes(pictures, kind, one, other):
    assert np.isfinite(pictures(kind)[one]).all()
    assert apart(pictures(kind)[one], pictures(kind)[other]) > CHANGED


@FAMILIES
def test_the_same_seed_gives_the_same_and_a_weight_of_0_leaves_a_style_out(pictures, kind):
    assert np.array_equal(pictures(kind)["full"], pictures(kind)["again"])
    assert np.array_equal(pictures(kind)["one of two"], pictures(kind)["usual"])


@FAMILIES
def test_keys_and_values_of_the_picture_itself_change_nothing(comfy_server, kind):
    """A style that is the picture drawn, through the same noise; through another it does."""
    noisy = {"sigmas": ["one step", 0], "latent_image": ["numbered", 0]}
    nodes = {
        "one step": node("BasicScheduler", model=["model", 0], scheduler="sgm_uniform", steps=1, denoise=0.5),
        "numbered": node("ProbeNumbered", latent=["encoded", 0], number=-1),
        "itself": style_model(style="small picture", seed=SEED),
        "at full": style_model(style="small picture", seed=SEED, strength=1.0),
        "style": style_model(style="small picture", seed=SEED, layers="style"),
        "otherwise": style_model(style="small picture", seed=SEED + 1),
    }
    names = ["model", "itself", "at full", "style", "otherwise"]
    run = comfy_server.run(graph(kind, **nodes) | drawn(*names, **noisy))
    plain, *same, other = by(comfy_server, run, *names)
    assert all(apart(each, plain) < SAME for each in same)
    assert apart(other, plain) > CHANGED


@FAMILIES
def test_picture_2_of_2_alone_and_our_sampler(comfy_server, kind):
    nodes = {"alone": node("LatentFromBatch", samples=["latent", 0], batch_index=1, length=1), "usual": style_model()}
    prompt = graph(kind, 2, **nodes) | drawn("usual") | ours("by ours", "usual")
    run = comfy_server.run(prompt | drawn("usual", suffix=" alone", latent_image=["alone", 0]))
    batch, alone, mine = by(comfy_server, run, "usual", "usual alone", "ours")
    assert apart(batch[1:], alone) < EXACT and apart(batch[:1], alone) > CHANGED
    assert apart(batch, mine) < EXACT


# Beside a style all else acts as ever


def controlled(kind: str, **more: list) -> dict:
    inputs = {"positive": ["positive", 0], "negative": ["negative", 0], "control_net": ["net", 0]}
    inputs |= {"image": ["other picture", 0], "strength": 0.7, "start_percent": 0.0, "end_percent": 1.0}
    return {"net": node("ProbeControlNet", kind=kind), "said": node("ControlNetApplyAdvanced", **inputs, **more)}


def conditioned(name: str, **inputs: object) -> dict:
    return {"said": node(name, conditioning=["positive", 0], **inputs)}


def filled() -> dict:
    half = {"positive": ["positive", 0], "negative": ["negative", 0], "vae": ["vae", 0], "pixels": ["small picture", 0]}
    nodes = {"ones": node("SolidMask", value=1.0, width=32, height=48)}
    nodes["zeros"] = node("SolidMask", value=0.0, width=64, height=48)
    nodes["left"] = node("MaskComposite", destination=["zeros", 0], source=["ones", 0], x=0, y=0, operation="add")
    return nodes | {"said": node("InpaintModelConditioning", **half, mask=["left", 0], noise_mask=True)}


def part() -> dict:
    area = {"conditioning": ["other", 0], "width": 64, "height": 64, "x": 24, "y": 0, "strength": 1.0}
    said = node("ConditioningCombine", conditioning_1=["positive", 0], conditioning_2=["area", 0])
    wide = node("VAEEncode", pixels=["wide picture", 0], vae=["vae", 0])
    picture = node("ProbePicture", width=128, height=96)
    return {"wide picture": picture, "encoded": wide, "area": node("ConditioningSetArea", **area), "said": said}


BESIDE = {
    "ControlNet of SD 1.5": ("sd15", controlled("sd15")),
    "ControlNet of SDXL": ("sdxl", controlled("sdxl")),
    "ControlNet of Flux": ("flux", controlled("flux")),
    "ControlNet of Flux, on latents": ("flux", controlled("flux_latent", vae=["vae", 0])),
    "an area in SD 1.5": ("sd15", part()),
    "an area in Flux": ("flux", part()),
    "sizes of SDXL": ("sdxl", conditioned("ProbeSizes", width=2048, crop_w=512)),
    "guidance of Flux": ("flux", conditioned("FluxGuidance", guidance=60.0)),
    "references of Flux": ("flux", conditioned("ReferenceLatent", latent=["encoded", 0])),
    "an inpainting model": ("sd15_inpaint", filled()),
    "Flux Fill": ("flux_fill", filled()),
}


@pytest.mark.parametrize("case", BESIDE)
def test_conditioning_acts_beside_a_style(comfy_server, case):
    kind, nodes = BESIDE[case]
    two = nodes["said"]["class_type"] in ("ControlNetApplyAdvanced", "InpaintModelConditioning")
    said = {"positive": ["said", 0]} | ({"negative": ["said", 1]} if two else {})
    start = {"latent_image": ["encoded", 0]}
    names = ["model", "faint", "usual"]
    prompt = graph(kind, **nodes, faint=style_model(strength=FAINT), usual=style_model())
    prompt |= drawn(*names, **said, **start) | drawn("model", "usual", suffix=" without", **start)
    run = comfy_server.run(prompt)
    plain, faint, usual, *without = by(comfy_server, run, *names, "model without", "usual without")
    assert apart(plain, without[0]) > CHANGED and apart(usual, without[1]) > CHANGED
    assert apart(faint, plain) < EXACT and apart(usual, plain) > CHANGED


@pytest.mark.usefixtures("lora")
@pytest.mark.parametrize("first", ["patch", "style"])
@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("sd15", ("PerturbedAttentionGuidance", {"scale": 3.0})),
        ("sdxl", ("FreeU_V2", {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2})),
        ("flux", ("ProbeCalls", {"name": "styled gain", "gain": 0.8})),
        ("sdxl", ("LoraLoaderModelOnly", {"lora_name": LORA, "strength_model": 0.8})),
        ("flux", ("LoraLoaderModelOnly", {"lora_name": LORA, "strength_model": 0.8})),
        ("sd15", ("ModelSamplingDiscrete", {"sampling": "v_prediction", "zsnr": False})),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_patches_act_beside_a_style(comfy_server, kind, patch, first):
    name, inputs = patch
    nodes = {"patched": node(name, model=["model", 0], **inputs)}
    for strength, styled in ((FAINT, "faint"), (0.7, "usual")):
        if first == "patch":
            nodes[styled] = style_model("patched", strength=strength)
        else:
            nodes[f"{styled} model"] = style_model(strength=strength)
            nodes[styled] = node(name, model=[f"{styled} model", 0], **inputs)
    names = ["model", "patched", "faint", "usual"]
    plain, patched, faint, usual = by(comfy_server, comfy_server.run(graph(kind, **nodes) | drawn(*names)), *names)
    assert apart(patched, plain) > CHANGED and apart(usual, patched) > CHANGED
    assert apart(faint, patched) < EXACT


@FAMILIES
def test_positive_and_negative_in_two_calls(comfy_server, kind):
    """Five times the words say the same in cross-attention; ComfyUI does not batch them with the words once."""
    join = {"twice": ("negative", "negative"), "four times": ("twice", "twice"), "long": ("four times", "negative")}
    nodes = {
        name: node("ConditioningConcat", conditioning_to=[to, 0], conditioning_from=[source, 0])
        for name, (to, source) in join.items()
    }
    nodes |= {"usual": style_model(), "counted": node("ProbeCalls", model=["usual", 0], name="split", gain=1.0)}
    nodes["tell"] = node("ProbeTellCalls", name="split", after=["by counted", 0])
    prompt = graph(kind, **nodes) | drawn("counted", negative=["long", 0])
    run = comfy_server.run(prompt | drawn("usual") | drawn("model", suffix=" long", negative=["long", 0]))
    split, together, plain = by(comfy_server, run, "counted", "usual", "model long")
    assert set(run.outputs["tell"]["calls"]) == {1}
    assert apart(split, plain) > CHANGED
    assert kind == "flux" or apart(split, together) < EXACT


@FAMILIES
def test_in_half_precision(comfy_server, kind):
    """Rounding takes it no farther from itself than it takes the MODEL without a style."""
    nodes = {"half": node("ProbeShapedModel", kind=kind, dtype="float16"), "usual": style_model()}
    nodes["half usual"] = style_model("half")
    names = ["model", "half", "usual", "half usual"]
    run = comfy_server.run(graph(kind, **nodes) | drawn(*names))
    plain, half, usual, half_usual = by(comfy_server, run, *names)
    assert apart(half_usual, usual) < 2 * apart(half, plain)
    assert apart(half_usual, half) > CHANGED


# Refusals


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("video", {}, "latents of this MODEL have 5 dimensions"),
        (
            "sd15",
            {"vae": ["other vae", 0]},
            "works on 4 channels of 8×8 for a picture of 64×64, and this VAE makes [16,",
        ),
        ("sd15", {"model": ["early", 0]}, "has a style at the same noise levels"),
    ],
    ids=["video", "VAE", "two"],
)
def test_what_cannot_be_is_refused(comfy_server, kind, changes, sentence):
    nodes = {"other vae": node("ProbeVAE", channels=16), "early": style_model(end_percent=0.5), "usual": style_model()}
    nodes["usual"]["inputs"] |= changes
    message = failure(comfy_server, graph(kind, **nodes) | drawn("usual"), "usual")
    assert sentence in message, message


def test_a_model_of_another_kind_is_refused(comfy_server):
    prompt = graph("sd15", model=node("ProbeModel", space="ve"), usual=style_model()) | drawn("usual")
    assert "works in U-Nets, such as SD 1.5 and SDXL, and in Flux" in failure(comfy_server, prompt, "usual")


def test_an_attention_mask_is_refused(comfy_server):
    nodes = {"masked": node("ProbeAttentionMask", conditioning=["positive", 0]), "usual": style_model()}
    prompt = graph("flux", **nodes) | drawn("usual", positive=["masked", 0])
    assert "set strength_type of Apply Style Model to multiply" in failure(comfy_server, prompt, "by usual")
