"""Load Denoiser and Guidance."""

import copy
import json
import struct

import pytest
import torch

from varifold.models.denoising.combine import METHODS
from varifold.nodes.denoiser import EMBEDDED, VarifoldLoadDenoiser
from varifold.nodes.guidance import VarifoldGuidance


def files() -> list[str]:
    return VarifoldLoadDenoiser.INPUT_TYPES()["required"]["file"][0]


def test_the_embedded_denoiser_comes_first_and_files_follow(models_folder, save_small):
    assert files() == [EMBEDDED]
    (models_folder / "mine").mkdir()
    save_small(models_folder / "mine" / "b.safetensors")
    save_small(models_folder / "a.safetensors")
    (models_folder / "notes.txt").write_text("no model")
    assert files() == [EMBEDDED, "a.safetensors", "mine/b.safetensors"]


def test_the_menu_is_there_without_any_host(monkeypatch):
    monkeypatch.setattr("varifold.nodes.denoiser.find", lambda: None)
    assert files() == [EMBEDDED]


def test_the_report_tells_what_its_tooltip_promises(call):
    denoiser, report = call("LoadDenoiser")
    assert denoiser.shape == (4, 32, 32)
    for part in ("295 words", "hero", "32×32", "0.002 to 80", "because", "unused tensors: 0"):
        assert part in report


def test_a_file_loads_and_draws(call, draw, models_folder, save_small):
    save_small(models_folder / "small.safetensors")
    denoiser, report = call("LoadDenoiser", file="small.safetensors")
    assert "hero, robe" in report and "8×8" in report
    image, mask, *_ = draw(denoiser=denoiser, sigmas=torch.tensor([20.0, 1.0, 0.0]))
    assert image.shape == (1, 8, 8, 3) and mask.shape == (1, 8, 8)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_precision_is_the_nets_and_the_state_stays_float32(precision, call, draw):
    denoiser, _ = call("LoadDenoiser", precision=precision)
    assert denoiser.dtype == getattr(torch, precision)
    image, _, latent, *_ = draw(denoiser=denoiser, sigmas=torch.tensor([80.0, 2.0, 0.0]))
    assert image.dtype == latent["samples"].dtype == torch.float32


def test_auto_precision_is_float32(call):
    assert call("LoadDenoiser")[0].dtype == torch.float32


def test_weights_can_be_trained_though_nodes_run_in_inference_mode(call):
    denoiser, _ = call("LoadDenoiser")
    assert not any(parameter.is_inference() for parameter in denoiser.net.parameters())


def test_a_prediction_overrules_the_files(call, models_folder, save_small):
    save_small(models_folder / "small.safetensors")
    overruled, report = call("LoadDenoiser", file="small.safetensors", prediction="eps")
    believed, _ = call("LoadDenoiser", file="small.safetensors")
    assert (overruled.precondition.name, believed.precondition.name) == ("eps", "edm")
    assert "eps, chosen by you; the file says edm" in report
    x = torch.ones(1, 4, 8, 8)
    assert not torch.allclose(overruled(x, 1.0), believed(x, 1.0))


def test_a_prediction_of_another_space_is_refused(call):
    with pytest.raises(ValueError, match=r"(?s)pixel_art\.safetensors.*flow"):
        call("LoadDenoiser", prediction="flow")


def test_is_changed_follows_what_is_in_the_file(models_folder, save_small):
    path = models_folder / "small.safetensors"
    save_small(path, seed=0)
    key = VarifoldLoadDenoiser.IS_CHANGED("small.safetensors", "auto", "auto")
    assert type(key) is str and key == VarifoldLoadDenoiser.IS_CHANGED("small.safetensors", "auto", "auto")
    save_small(path, seed=1)
    assert VarifoldLoadDenoiser.IS_CHANGED("small.safetensors", "auto", "auto") != key
    assert type(VarifoldLoadDenoiser.IS_CHANGED(EMBEDDED, "auto", "auto")) is str


@pytest.mark.parametrize("name", ["gone.safetensors", "../../../etc/passwd", "/etc/passwd"])
def test_only_what_is_on_the_menu_is_opened(name, call):
    with pytest.raises(ValueError, match="in the model folders: choose another"):
        call("LoadDenoiser", file=name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02pickle",
        b"<html>please log in</html>",
        struct.pack("<Q", 2**62) + b"{}",
        (lambda text: struct.pack("<Q", len(text)) + text)(
            json.dumps({"__metadata__": {"varifold.spec": "["}}).encode()
        ),
    ],
    ids=["empty", "pickle", "web page", "endless header", "broken spec"],
)
def test_a_hostile_file_is_refused_by_name(content, call, models_folder):
    (models_folder / "hostile.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"hostile\.safetensors"):
        call("LoadDenoiser", file="hostile.safetensors")


def test_guidance_leaves_the_given_denoiser_as_it_was(call, embedded):
    (guided,) = call("Guidance", denoiser=embedded, method="rescale", rescale=0.4, from_sigma=20.0, to_sigma=0.5)
    assert guided.guidance.method == "rescale" and dict(guided.guidance.knobs) == {"phi": 0.4}
    assert (guided.guidance.low, guided.guidance.high) == (0.5, 20.0)
    assert guided.net is embedded.net and embedded.guidance.method == "cfg"


def test_a_guidance_interval_upside_down_is_refused(call, embedded):
    with pytest.raises(ValueError, match="guidance interval"):
        call("Guidance", denoiser=embedded, from_sigma=1.0, to_sigma=2.0)


def test_guidance_pulls_and_its_interval_and_rescale_act(call, draw, embedded, prompt):
    def state(denoiser=embedded, guidance=4.0):
        return draw(denoiser=denoiser, guidance=guidance, positive=prompt("potion red"))[2]["samples"]

    unguided, guided = state(guidance=1.0), state()
    assert (unguided - guided).abs().max() > 0.05
    (never,) = call("Guidance", denoiser=embedded, from_sigma=100000.0, to_sigma=90.0)
    assert torch.allclose(state(never), unguided, atol=1e-4)
    (always,) = call("Guidance", denoiser=embedded)
    assert torch.equal(state(always), guided)
    (at_first,) = call("Guidance", denoiser=embedded, to_sigma=10.0)
    (rescaled,) = call("Guidance", denoiser=embedded, method="rescale")
    for other in (state(at_first), state(rescaled)):
        assert (other - guided).abs().max() > 0.01 and (other - unguided).abs().max() > 0.01
    (plain,) = call("Guidance", denoiser=embedded, method="rescale", rescale=0.0)
    assert torch.allclose(state(plain), guided, atol=1e-4)


def test_each_method_takes_its_own_knobs_and_no_others(call, embedded):
    knobs = {"rescale": 0.4, "strength": 2.0, "eta": 0.3, "norm_threshold": 5.0, "momentum": -0.5}
    taken = {
        "cfg": {},
        "rescale": {"phi": 0.4},
        "apg": {"eta": 0.3, "norm_threshold": 5.0, "momentum": -0.5},
        "cfg_zero_star": {"strength": 2.0, "zero_init": 0},
        "pag": {"strength": 2.0},
        "perp_neg": {"strength": 2.0},
    }
    assert list(taken) == VarifoldGuidance.INPUT_TYPES()["required"]["method"][0] == list(METHODS)
    for method, expected in taken.items():
        (guided,) = call("Guidance", denoiser=embedded, method=method, **knobs)
        assert (guided.guidance.method, dict(guided.guidance.knobs)) == (method, expected)


@pytest.mark.parametrize("method", ["apg", "cfg_zero_star", "pag", "perp_neg"])
def test_each_method_draws_its_own_picture(method, call, draw, embedded, prompt):
    def state(**given):
        (guided,) = call("Guidance", denoiser=embedded, **given)
        words = {"positive": prompt("potion red"), "negative": prompt("hero")}
        return draw(denoiser=guided, guidance=3.0, **words)[2]["samples"]

    found = state(method=method)
    assert found.isfinite().all() and (found - state(method="cfg")).abs().max() > 0.01
    again = state(method=method, momentum=-0.5) if method == "apg" else state(method=method)
    assert torch.equal(again, found) == (method != "apg")


def test_a_guide_draws_too(call, draw, embedded, prompt, models_folder, save_small):
    """Any denoiser of the same shape and words can be one; here a noisy copy."""
    weaker = copy.copy(embedded)
    weaker.net = copy.deepcopy(embedded.net)
    with torch.no_grad():
        for parameter in weaker.net.down.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    (guided,) = call("Guidance", denoiser=embedded, guide=weaker)
    (mirrored,) = call("Guidance", denoiser=embedded, guide=embedded)
    given = {"positive": prompt("potion red"), "guidance": 2.0}
    steered, unsteered = (draw(denoiser=each, **given)[2]["samples"] for each in (guided, mirrored))
    assert (steered - unsteered).abs().max() > 0.01
    assert torch.allclose(unsteered, draw(positive=prompt("potion red"))[2]["samples"], atol=1e-3)


def test_a_method_that_does_not_fit_is_explained(call, embedded, models_folder, save_small, prompt):
    with pytest.raises(ValueError, match="zero_init is for flow"):
        call("Guidance", denoiser=embedded, method="cfg_zero_star", zero_init=1)
    with pytest.raises(ValueError, match="empty is for MODELs"):
        call("Guidance", denoiser=embedded, method="perp_neg", empty=prompt("hero"))
    with pytest.raises(ValueError, match="takes its place"):
        call("Guidance", denoiser=embedded, method="perp_neg", guide=embedded)
    (toy,) = call("Toy")
    with pytest.raises(ValueError, match="attention in its middle"):
        call("Guidance", denoiser=toy, method="pag")
    (flow,) = call("Toy", space="flow")
    assert call("Guidance", denoiser=flow, method="cfg_zero_star", zero_init=1)[0].guidance.method == "cfg_zero_star"
