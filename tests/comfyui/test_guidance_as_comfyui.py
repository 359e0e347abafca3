"""Guidance (Varifold) on a MODEL, against ComfyUI's own nodes for the same papers."""

from __future__ import annotations

import pytest
from comfyui.graphs import failure, node
from comfyui.model_graphs import EXACT, GUIDANCE, apart, base, check, latents, ours, theirs

pytestmark = pytest.mark.comfyui

UNETS = pytest.mark.parametrize("kind", ["sd15", "sd15_v"])
BOTH_SPACES = pytest.mark.parametrize("kind", ["sd15", "flux"])


def guided(method: str, sampler: dict | None = None, **knobs: object) -> dict:
    """Our Sampler as "ours", guided by `method`; `sampler` are inputs of Sampler's."""
    inputs = {"denoiser": ["ours denoiser", 0], "method": method, "rescale": 0.7, "from_sigma": 1e5, "to_sigma": 0.0}
    return ours(denoiser=["guided", 0], **(sampler or {})) | {"guided": node("VarifoldGuidance", **inputs, **knobs)}


@UNETS
@pytest.mark.parametrize("cfg", [1.0, GUIDANCE])
def test_pag_is_comfyuis(comfy_server, kind, cfg):
    patched = node("PerturbedAttentionGuidance", model=["model", 0], scale=2.0)
    prompt = base(kind, patched=patched) | guided("pag", {"guidance": cfg}, strength=2.0)
    check(comfy_server, prompt | theirs(model="patched", cfg=cfg) | theirs("plain", cfg=cfg))


def test_pag_of_a_model_without_such_attention_is_refused(comfy_server):
    assert "U-Net" in failure(comfy_server, base("flux") | guided("pag"), "ours")


@BOTH_SPACES
@pytest.mark.parametrize("strength", [0.7, 2.0])
def test_perp_neg_is_comfyuis(comfy_server, kind, strength):
    """For one picture: of a batch ComfyUI's node takes the projection of all pictures together."""
    guider = node(
        "PerpNegGuider",
        model=["model", 0],
        positive=["positive", 0],
        negative=["negative", 0],
        empty_conditioning=["other", 0],
        cfg=GUIDANCE,
        neg_scale=strength,
    )
    prompt = base(kind, batch=1) | guided("perp_neg", empty=["other", 0], strength=strength) | theirs("plain")
    check(comfy_server, prompt | theirs() | {"theirs guider": guider})


def test_perp_neg_needs_the_empty_prompt(comfy_server):
    assert "CLIPTextEncode of an empty text" in failure(comfy_server, base() | guided("perp_neg"), "guided")


@BOTH_SPACES
@pytest.mark.parametrize(("eta", "norm_threshold", "momentum"), [(0.0, 0.0, 0.0), (0.3, 6.0, -0.5)])
def test_apg_is_comfyuis(comfy_server, kind, eta, norm_threshold, momentum):
    """ComfyUI's adds `scale` of the changed difference to the negative, and the difference itself once more; the
    paper's is (scale − 1) times, from the positive. So theirs at w is ours at w + 1."""
    knobs = {"eta": eta, "norm_threshold": norm_threshold, "momentum": momentum}
    patched = node("APG", model=["model", 0], **knobs)
    prompt = base(kind, patched=patched) | guided("apg", {"guidance": GUIDANCE + 1}, **knobs)
    check(comfy_server, prompt | theirs(model="patched", cfg=GUIDANCE) | theirs("plain"))


@BOTH_SPACES
def test_neutral_knobs_are_comfyuis_cfg(comfy_server, kind):
    for method, knobs in (("apg", {"eta": 1.0}), ("cfg_zero_star", {"strength": 0.0}), ("rescale", {"rescale": 0.0})):
        prompt = base(kind) | guided(method, **{key: value for key, value in knobs.items() if key != "rescale"})
        prompt["guided"]["inputs"] |= knobs
        run = comfy_server.run(prompt | theirs())
        assert apart(*latents(comfy_server, run, "ours", "theirs")) < EXACT, method


def test_a_guide_is_refused(comfy_server):
    assert "neither be a guide" in failure(comfy_server, base() | guided("cfg", guide=["ours denoiser", 0]), "guided")
