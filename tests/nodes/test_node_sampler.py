"""Sampler: what it draws, from noise."""

import copy

import numpy as np
import pytest
import torch

from varifold.models import NonFinite
from varifold.models.sampling.solver import SOLVERS
from varifold.studio.errors import Cancelled

STATE_TOLERANCE = 1e-4


def state(outputs) -> torch.Tensor:
    return outputs[2]["samples"]


def test_outputs_are_what_comfyui_expects(draw):
    image, mask, latent, trace, report = draw(batch=3, seed=4)
    assert image.shape == (3, 32, 32, 3) and mask.shape == (3, 32, 32) and latent["samples"].shape == (3, 4, 32, 32)
    for tensor in (image, mask, latent["samples"]):
        assert tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.05
    assert set(mask.unique().tolist()) == {0, 1}
    assert torch.equal(mask, (latent["samples"][:, 3] <= 0).float())
    assert not image[mask == 1].any()
    assert set(latent) == {"samples"}
    assert len(trace.frames) == 3
    for part in ("3 pictures of 32×32", "euler", "3 steps, 3 evaluations", "guidance 1", "σ 80 → 0"):
        assert part in report


def test_the_report_is_shown_on_the_node(embedded):
    from varifold.nodes import NODE_CLASS_MAPPINGS

    node = NODE_CLASS_MAPPINGS["VarifoldSampler"]()
    outputs = node.sample(embedded, torch.tensor([80.0, 0.0]), "euler", 1.0, 0, 1, 0, 0)
    assert outputs["ui"]["text"] == [outputs["result"][-1]]
    assert outputs["ui"]["varifold_errors"] == [None]
    assert "local error" not in outputs["result"][-1]


def test_the_report_tells_of_the_least_exact_step(embedded):
    from varifold.nodes import NODE_CLASS_MAPPINGS

    node = NODE_CLASS_MAPPINGS["VarifoldSampler"]()
    outputs = node.sample(embedded, torch.tensor([80.0, 20.0, 4.0, 0.5, 0.0]), "euler", 1.0, 0, 2, 0, 0)
    *told, last = outputs["ui"]["varifold_errors"]
    assert last is None and len(told) == 3
    worst = max(range(3), key=lambda step: told[step])
    assert f"local error at most {told[worst]:.2g}, in step {worst + 1}" in outputs["result"][-1]


def test_the_seed_decides(draw):
    first, again, other = draw(seed=2**64 - 1), draw(seed=2**64 - 1), draw(seed=3)
    assert torch.equal(first[0], again[0]) and torch.equal(state(first), state(again))
    assert (state(first) - state(other)).abs().max() > 0.1


@pytest.mark.parametrize("solver", ["euler", "euler_ancestral", "dpmpp_2m_sde"])
def test_a_picture_of_a_batch_is_the_same_alone(solver, draw):
    together = draw(solver=solver, batch=3, seed=9)
    alone = draw(solver=solver, latent={"samples": torch.zeros(1, 4, 32, 32), "batch_index": [2]}, seed=9)
    assert torch.allclose(state(together)[2:], state(alone), atol=STATE_TOLERANCE)
    close = (together[0][2:] - alone[0]).abs() <= 1 / 255
    assert close.float().mean() > 0.99
    assert alone[2]["batch_index"] == [2]
    first = draw(solver=solver, seed=9)
    assert torch.allclose(state(together)[:1], state(first), atol=STATE_TOLERANCE)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_draws(solver, draw):
    image, *_, report = draw(solver=solver, sigmas=torch.tensor([80.0, 8.0, 1.0, 0.1, 0.0]))
    assert torch.isfinite(image).all() and image.std() > 0.02 and solver in report


def test_guidance_matters(draw, prompt):
    weak, strong = (draw(guidance=guidance, positive=prompt("potion red")) for guidance in (1.0, 1.5))
    assert (state(weak) - state(strong)).abs().max() > 0.02


def test_the_negative_steers_away(draw, prompt):
    plain = draw(guidance=2.0, positive=prompt("potion"))
    away = draw(guidance=2.0, positive=prompt("potion"), negative=prompt("red"))
    assert (state(plain) - state(away)).abs().max() > 0.02


@pytest.mark.parametrize(("width", "height"), [(64, 32), (8, 8), (0, 40)])
def test_other_sizes_draw(width, height, draw):
    image, mask, latent, *_, report = draw(width=width, height=height)
    size = (height or 32, width or 32)
    assert image.shape[1:3] == mask.shape[1:] == latent["samples"].shape[2:] == size
    assert f"{size[1]}×{size[0]}" in report


@pytest.mark.parametrize(("width", "height"), [(33, 32), (32, 4), (1, 1)])
def test_sizes_that_the_net_cannot_draw_suggest_others(width, height, draw):
    with pytest.raises(ValueError, match=f"multiples of 8, not {width}×{height}: try "):
        draw(width=width, height=height)


@pytest.mark.parametrize(
    ("sigmas", "reason"),
    [
        ([], "denoise 0"),
        ([1.0], "at least two"),
        ([0.0, 0.1, 1.0], "does not descend"),
        ([80.0, float("nan"), 0.0], "finite"),
        ([float("inf"), 1.0, 0.0], "finite"),
        ([1.0, -1.0], "≥ 0"),
    ],
)
def test_schedules_that_cannot_be_walked_are_refused(sigmas, reason, draw):
    with pytest.raises(ValueError, match=reason):
        draw(sigmas=torch.tensor(sigmas))


def test_sigmas_of_other_types_are_taken(draw):
    for dtype in (torch.float64, torch.float16):
        assert torch.equal(draw(sigmas=torch.tensor([80.0, 5.0, 0.5, 0.0], dtype=dtype))[0], draw()[0])


def test_starting_far_below_the_trained_noise_is_warned_of(draw):
    assert "far below" in draw(sigmas=torch.tensor([2.0, 0.0]))[-1]
    assert "far below" not in draw()[-1]


def test_a_vae_is_not_needed_and_that_is_said(draw):
    assert "vae: not used" in draw(vae=object())[-1]


class Given:
    """What a NOISE wire carries."""

    def __init__(self, make, seed=1):
        self.make, self.seed, self.asked = make, seed, []

    def generate_noise(self, latent):
        self.asked.append(latent)
        return self.make(latent["samples"])


def test_given_noise_replaces_the_start(draw):
    fixed = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(3))
    noise = Given(lambda samples: fixed)
    assert torch.equal(state(draw(noise=noise, batch=2, seed=1)), state(draw(noise=noise, batch=2, seed=2)))
    assert noise.asked[0]["samples"].shape == (2, 4, 32, 32) and "batch_index" not in noise.asked[0]
    silent = Given(torch.zeros_like)
    assert (state(draw(noise=silent)) - state(draw())).abs().max() > 0.1


def test_a_noise_that_hands_back_its_input_works_and_batch_index_reaches_it(draw):
    noise = Given(lambda samples: samples)
    draw(noise=noise, latent={"samples": torch.zeros(2, 4, 32, 32), "batch_index": [4, 1]})
    assert noise.asked[0]["batch_index"] == [4, 1]


def test_noise_of_another_shape_is_refused(draw):
    with pytest.raises(ValueError, match="this NOISE made"):
        draw(noise=Given(lambda samples: torch.zeros(1, 4, 16, 16)))


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 3), ("heun", 5)])
def test_progress_counts_evaluations_to_the_end(solver, evaluations, draw, events):
    draw(solver=solver)
    seen = [(data["value"], data["max"]) for event, data in events if event == "progress"]
    assert seen == [(done, evaluations) for done in range(evaluations + 1)]
    assert not [event for event, _ in events if event == "preview"]


def test_previews_are_pictures_of_the_batch(draw, events, host):
    host.wants_preview = True
    draw(batch=3)
    shown = [data["image"] for event, data in events if event == "preview"]
    assert len(shown) == 3 and all(picture.size == (384, 384) for picture in shown)
    assert len(np.unique(np.asarray(shown[-1]).reshape(-1, 3), axis=0)) > 4


def test_cancelling_stops_within_two_evaluations(draw, host):
    heard = []

    def listen(event, data):
        heard.append(data["value"])
        if data["value"] == 2:
            host.cancel.set()

    host.listener = listen
    counted = []
    with pytest.raises(Cancelled):
        draw(denoiser=counting(draw, counted), sigmas=torch.linspace(80, 0, 11))
    assert heard == [0, 1, 2] and len(counted) <= 4


def counting(draw, counted: list):
    """The embedded denoiser, each call of its net noted in `counted`."""
    from varifold.models import load_denoiser

    denoiser = load_denoiser()
    denoiser.net.register_forward_hook(lambda *_: counted.append(1))
    return denoiser


def test_nan_is_an_error_with_its_step_and_sigma(draw, embedded):
    broken = copy.copy(embedded)
    broken.net = copy.deepcopy(embedded.net)
    with torch.inference_mode(False):
        next(broken.net.parameters()).data.fill_(float("nan"))
    with pytest.raises(NonFinite, match=r"evaluation 1 of 3 \(σ = 80\)"):
        draw(denoiser=broken)


def test_memory_is_asked_for_before_drawing(draw, embedded, host, monkeypatch):
    loaded = []
    monkeypatch.setattr(type(host), "load", lambda self, denoiser: loaded.append(denoiser))
    draw()
    assert loaded == [embedded]


def test_positive_and_guidance_widgets_do_not_touch_their_inputs(draw, prompt):
    sigmas, positive, negative = torch.tensor([80.0, 2.0, 0.0]), prompt("hero"), prompt("red potion")
    before = copy.deepcopy([sigmas, positive, negative])
    draw(sigmas=sigmas, positive=positive, negative=negative, guidance=2.0)
    assert torch.equal(sigmas, before[0])
    for (words, extras), (old_words, old_extras) in zip(positive + negative, before[1] + before[2], strict=True):
        assert torch.equal(words, old_words) and extras == old_extras
