"""Sampler, Guidance and Fit Schedule with what reads a text encoder's prompts: a small SD 1, and a small Flux."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest
import torch
from small_checkpoints import File, Stored, small_checkpoints

from varifold.models.checkpoint import inspect, natural_dtype
from varifold.models.sampling import fit
from varifold.models.sampling.noise import Noise
from varifold.nodes.conditions import conditioning_in

SIGMAS = torch.tensor([14.6, 1.0, 0.0])
SIDE = 32  # of pictures, to draw fast


def text(seed: int, length: int = 3, width: int = 768, **extras) -> list:
    """A CONDITIONING, as of CLIPTextEncode."""
    return [[torch.randn(1, length, width, generator=torch.Generator().manual_seed(seed)), extras]]


@pytest.fixture
def load(call, models_folder):
    def load(name: str):
        (models_folder / "small.safetensors").write_bytes(small_checkpoints()[name].packed())
        return call("LoadDenoiser", file="small.safetensors")[0]

    return load


@pytest.fixture
def sd(load):
    return load("SD 1, checkpoint").with_autoencoder(None)


@pytest.fixture
def draw(call):
    """`draw(denoiser, ...)` gives the samples of a picture of SIDE pixels."""
    usual = {"sigmas": SIGMAS, "solver": "euler", "width": SIDE, "height": SIDE, "guidance": 2.0}
    return lambda denoiser, **given: call("Sampler", denoiser=denoiser, **usual | given)[2]["samples"]


def test_prompts_of_different_lengths_are_guided_and_averaged(sd, draw):
    long, short, negative = text(1, 5), text(2, 3), text(3, 4)
    both = draw(sd, positive=long + short, negative=negative)
    assert (both - draw(sd, positive=long, negative=negative)).abs().max() > 1e-4
    assert torch.allclose(both, draw(sd, positive=short + long, negative=negative), atol=1e-5)


def test_a_prompt_for_all_and_prompts_one_each_meet(sd, draw):
    each = [[torch.cat([text(seed)[0][0] for seed in (1, 2)]), {}]]
    drawn = draw(sd, positive=each, negative=text(3), batch=2)
    alone = draw(sd, positive=text(1), negative=text(3))
    assert torch.allclose(drawn[:1], alone, atol=1e-4 * float(alone.abs().max()))


def test_perp_neg_needs_the_empty_prompt(call, sd, draw):
    with pytest.raises(ValueError, match="needs empty"):
        call("Guidance", denoiser=sd, method="perp_neg")
    drawn = []
    for seed in (7, 8):
        (guided,) = call("Guidance", denoiser=sd, method="perp_neg", empty=text(seed))
        drawn.append(draw(guided, positive=text(1), negative=text(3)))
    assert (drawn[0] - drawn[1]).abs().max() > 1e-4


def test_a_guide_takes_the_place_of_the_negative(call, sd, draw):
    (guided,) = call("Guidance", denoiser=sd, method="cfg", guide=sd)
    assert torch.allclose(draw(guided, positive=text(1)), draw(sd, positive=text(1), guidance=1.0), atol=1e-4)
    with pytest.raises(ValueError, match="wire it"):
        draw(sd, positive=text(1))
    sdxl = copy(sd)
    sdxl.spec = replace(sd.spec, channels="sdxl")
    (guided,) = call("Guidance", denoiser=sd, method="cfg", guide=sdxl)
    with pytest.raises(ValueError, match="denoiser of sd1 cannot be guided by one of sdxl"):
        draw(guided, positive=text(1))


def test_a_fit_asks_for_the_prompts_that_are_missing(call, sd):
    with pytest.raises(ValueError, match="wire positive"):
        call("FitSchedule", denoiser=sd, guidance=1.0)
    with pytest.raises(ValueError, match="negative: wire it"):
        call("FitSchedule", denoiser=sd, positive=text(1), guidance=2.0)


def test_a_fit_takes_prompts_of_one_length(call, sd):
    prompts = [*text(1, 5), *text(2, 3), *text(4, 5)]
    with pytest.raises(ValueError, match=r"\[5, 768\] and \[3, 768\].*make all prompts as long"):
        call("FitSchedule", denoiser=sd, positive=prompts, guidance=1.0)


def test_a_fit_starts_as_a_run_does(sd):
    train, _ = fit.of_denoiser(sd, conditioning_in(text(1), sd, (8, 8))[0], trajectories=4)
    noise = Noise(0, range(len(train.x)), sd.shape)(0)
    torch.testing.assert_close(train.x, noise * sd.pure_noise(sd.sigma_max))


def test_a_net_runs_in_what_most_of_its_file_is(models_folder, monkeypatch):
    monkeypatch.setattr("varifold.models.checkpoint.load.SMALL", 0)
    known = small_checkpoints()["SD 2, single file"]
    first = min(known.tensors, key=lambda name: "time_embed.0.weight" not in name)
    _, shape, data = known.tensors[first]
    mixed = File({**known.tensors, first: Stored("F32", shape, data * 4)})
    (models_folder / "mixed.safetensors").write_bytes(mixed.packed())
    checkpoint = inspect(models_folder / "mixed.safetensors")
    assert checkpoint.sources["time_in.weight"].keys == (first,)
    assert natural_dtype(checkpoint, torch.device("cuda")) == torch.bfloat16
    assert natural_dtype(checkpoint, torch.device("cpu")) == torch.float32


def test_sizes_are_told_in_pixels(sd, draw):
    with pytest.raises(ValueError, match="multiples of 16, not 40×32"):
        draw(sd, positive=text(1), negative=text(2), width=40)
    with pytest.raises(ValueError, match="multiples of 16, not 40×32: try 32×32"):
        draw(sd, positive=text(1), negative=text(2), latent={"samples": torch.zeros(1, 4, 4, 5)})


def test_flux_without_guidance_is_no_flux_dev_of_ours(load):
    denoiser = load("Flux dev, diffusers")
    told = text(1, width=8, pooled_output=torch.zeros(1, 8), guidance=None)
    with pytest.raises(ValueError, match="FluxDisableGuidance"):
        conditioning_in(told, denoiser, (4, 4))
    told[0][1]["guidance"] = 2
    assert conditioning_in(told, denoiser, (4, 4))[0][0]["guidance"].tolist() == [2.0]
