"""From Model, and Sampler on it, with a host whose MODELs are plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from varifold.models import FLOW, VE, sample, solver
from varifold.models.denoising.space import Space
from varifold.models.sampling.noise import Noise
from varifold.nodes.host import Facts

SIGMAS = {VE.name: [10.0, 2.0, 0.5, 0.0], FLOW.name: [1.0, 0.7, 0.3, 0.0]}
SPACES = pytest.mark.parametrize("space", [VE, FLOW], ids=lambda space: space.name)
VAE = SimpleNamespace(gain=2.0)
SIZE = (4, 4, 6)


def D(x, sigma, level):
    return torch.tanh(x) * 0.5 + level


def text(level: float) -> list:
    """What CLIPTextEncode might give, for `D` to read."""
    return [[torch.full((1, 77, 8), level), {"pooled_output": torch.zeros(1, 8)}]]


@dataclass
class Models:
    """MODELs that answer `D`; what they are asked to draw is kept in `asked`."""

    space: Space = VE
    dimensions: int = 2
    noise_scale: float = 1.0
    vae_channels: int = 4
    asked: dict = field(default_factory=dict)
    levels: list[tuple[float, int]] = field(default_factory=list)

    def facts(self, model):
        return Facts(self.space, 0.1, SIGMAS[self.space.name][0], 4, self.dimensions, 8, 64, self.noise_scale)

    def fitted(self, model, latent):
        return latent["samples"]

    def draw(self, model, run, **asked):
        self.asked, guidance = asked, asked["guidance"]
        combine, first = guidance.combine(asked["scale"]), asked["sigmas"][0].item()

        def guided(x, sigma):
            acts = asked["scale"] != 1 and guidance.acts(sigma)
            self.levels.append((sigma, 1 + acts))
            positive, negative = (D(x, sigma, asked[side][0][0].mean()) for side in ("positive", "negative"))
            return combine(positive, negative, x, sigma) if acts else positive

        return run(guided, asked["noise"] * first * self.noise_scale + self.space.alpha(first) * asked["latent"])

    def to_wire(self, model, x0):
        return x0

    from_wire = to_wire

    def rough(self, model, x0):
        return x0[:, :3].movedim(1, -1).sigmoid()

    def encode(self, vae, rgb):
        grey = torch.nn.functional.avg_pool2d(rgb.mean(-1), 8)[:, None]
        return vae.gain * grey.expand(-1, self.vae_channels, -1, -1)

    def decode(self, vae, samples):
        rgb = samples[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)
        return (rgb / vae.gain).clamp(0, 1)


@pytest.fixture
def models(host, monkeypatch):
    models = Models()
    monkeypatch.setattr(type(host), "models", models)
    return models


@pytest.fixture
def make(call, models):
    """`make(vae=None)` gives the denoiser of From Model."""
    return lambda **given: call("FromModel", model=object(), **given)[0]


@pytest.fixture
def draw(call, make, models):
    """`draw(seed=3)` gives Sampler's outputs: image, mask, latent, trace, report."""

    def draw(**given):
        usual = {"denoiser": make(), "sigmas": torch.tensor(SIGMAS[models.space.name]), "solver": "euler"}
        usual |= {"guidance": 1.0, "positive": text(0.2), "width": 48, "height": 32}
        return call("Sampler", **usual | given)

    return draw


def picture(width: int = 48, height: int = 32, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, height, width, 3, generator=torch.Generator().manual_seed(1))


# Drawing


@SPACES
@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_it_draws_as_our_engine_does(models, draw, space, name):
    models.space = space
    latent = draw(solver=name, seed=9, batch=2, guidance=2.0, negative=text(-0.3))[2]
    options = {"solver": name, "seed": 9, "batch": 2, "shape": SIZE, "space": space}
    expected = sample(D, torch.tensor(SIGMAS[space.name]).tolist(), cond=0.2, negative=-0.3, guidance=2.0, **options)
    torch.testing.assert_close(latent["samples"], expected, rtol=1e-5, atol=1e-5)


def test_without_a_size_it_is_the_models_own(models, draw):
    image, mask, latent, _, report = draw(width=0, height=0, batch=3)
    assert latent["samples"].shape == (3, 4, 8, 8) and "batch_index" not in latent
    assert image.shape == (3, 64, 64, 3) and not mask.any()
    assert "3 pictures of 64×64" in report and "a rough view of the latent" in report


def test_guidance_1_needs_no_negative(models, draw):
    draw()
    assert models.asked["negative"] is models.asked["positive"] and models.asked["scale"] == 1


def test_guidance_of_its_node_reaches_the_model(call, models, make, draw):
    given = {"denoiser": make(), "method": "rescale", "rescale": 0.5, "from_sigma": 5.0, "to_sigma": 1.0}
    plain = draw(guidance=3.0, negative=text(-0.3))[2]["samples"]
    models.levels.clear()
    drawn = draw(denoiser=call("Guidance", **given)[0], guidance=3.0, negative=text(-0.3))[2]["samples"]
    assert models.levels == [(10.0, 1), (2.0, 2), (0.5, 1)]
    assert models.asked["guidance"].method == "rescale" and (drawn - plain).abs().max() > 1e-2


def test_noise_on_the_way_is_of_the_models_scale(models, draw):
    models.space, models.noise_scale = FLOW, 3.0
    drawn = draw(solver="euler_ancestral", seed=9)[2]["samples"]
    sigmas = torch.tensor(SIGMAS["flow"]).tolist()
    strong = solver.plan("euler_ancestral", sigmas, FLOW, s_noise=3.0)
    expected = sample(D, sigmas, solver=strong, seed=9, noise=3 * Noise(9, [0], SIZE)(0), space=FLOW, cond=0.2)
    torch.testing.assert_close(drawn, expected, rtol=1e-5, atol=1e-5)


# What it starts from


def test_noise_follows_the_numbers_of_a_latents_pictures(models, draw):
    empty = torch.zeros(4, *SIZE)
    batch = draw(solver="euler_ancestral", latent={"samples": empty})[2]["samples"]
    one = draw(solver="euler_ancestral", latent={"samples": empty[2:3], "batch_index": [2]})[2]
    torch.testing.assert_close(one["samples"], batch[2:3])
    assert one["batch_index"] == [2]
    assert torch.equal(models.asked["noise"], Noise(0, [2], SIZE)(0))


def test_a_picture_is_encoded_and_repeated(models, draw, make):
    sigmas = torch.tensor([0.5, 0.0])
    latent = draw(denoiser=make(vae=VAE), image=picture(), batch=2, sigmas=sigmas)[2]["samples"]
    assert latent.shape == (2, *SIZE)
    torch.testing.assert_close(models.asked["latent"], models.encode(VAE, picture()).expand(2, -1, -1, -1))


def test_a_picture_without_a_size_keeps_its_own_to_whole_latents(models, draw):
    draw(image=picture(50, 45), vae=VAE, width=0, height=0)
    assert models.asked["latent"].shape == (1, 4, 5, 6)


def test_the_samplers_vae_goes_before_from_models(draw, make):
    given = {"denoiser": make(vae=VAE), "vae": SimpleNamespace(gain=4.0)}
    image, _, latent, _, report = draw(**given)
    assert image.shape == (1, 32, 48, 3) and "rough" not in report
    torch.testing.assert_close(image[0, ::8, ::8], (latent["samples"][0, :3] / 4).clamp(0, 1).movedim(0, -1))


def test_a_latents_noise_mask_goes_as_it_is(models, draw):
    noise_mask = torch.zeros(1, 1, 10, 7)
    noise_mask[..., 3:] = 0.5
    latent = draw(latent={"samples": torch.ones(2, *SIZE), "noise_mask": noise_mask})[2]
    assert torch.equal(models.asked["mask"], noise_mask.expand(2, -1, -1, -1))
    assert torch.equal(latent["noise_mask"], noise_mask)


def test_what_the_mask_keeps_is_the_picture_itself(models, draw):
    mask = torch.zeros(1, 32, 48)
    mask[..., :16] = 1
    image = draw(image=picture(), mask=mask, vae=VAE)[0]
    assert models.asked["mask"].shape == (1, 1, 32, 48)
    assert torch.equal(image[:, :, 16:], picture()[:, :, 16:])
    assert not torch.equal(image[:, :, :16], picture()[:, :, :16])
    on_the_way = draw(image=picture(), mask=mask, vae=VAE, sigmas=torch.tensor([10.0, 1.0]))[0]
    assert not torch.equal(on_the_way[:, :, 16:], picture()[:, :, 16:])


# What it shows


def test_the_trace_is_decoded_by_the_vae_or_roughly(draw):
    for vae, size in ((None, (4, 6)), (VAE, (32, 48))):
        trace = draw(vae=vae)[3]
        rgb, alpha = trace.decode(trace.frames)
        assert rgb.shape == (3, *size, 3) and alpha.shape == (3, *size) and alpha.min() == 1


def test_progress_and_previews(draw, events):
    draw(solver="heun")
    progress = [data for event, data in events if event == "progress"]
    assert progress[-1]["value"] == progress[-1]["max"] == 5


# Refusals


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"positive": None}, "wire positive"),
        ({"guidance": 2.0}, "wire it, or set guidance to 1"),
        ({"width": 50}, "multiples of 8, not 50×32"),
        ({"image": picture()}, "wire a vae"),
        ({"image": picture(), "latent": {"samples": torch.zeros(1, *SIZE)}}, "a run starts from one of them"),
        ({"image": picture(4, 4), "vae": VAE, "width": 0, "height": 0}, "multiples of 8, not 0×0"),
        ({"latent": {"samples": torch.ones(1, 16, 4, 6)}}, "works on 4 channels, and the LATENT has 16"),
        ({"latent": {"samples": torch.ones(1, 4, 1, 4, 6)}}, "this LATENT is 5-dimensional"),
        ({"latent": {"samples": torch.ones(2, *SIZE), "batch_index": [1]}}, "2 pictures and 1 numbers"),
        ({"latent": {"samples": torch.ones(3, *SIZE), "noise_mask": torch.ones(2, 1, 4, 6)}}, "2 masks for 3"),
        ({"mask": torch.ones(1, 32, 48)}, "a mask needs a picture"),
        ({"sampler": object()}, "this SAMPLER is not Varifold's"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(models, draw, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(**given)
    assert not models.asked


def test_a_vae_of_another_kind_is_refused(models, draw):
    models.vae_channels = 16
    with pytest.raises(ValueError, match="works on 4 channels, and this VAE makes 16"):
        draw(image=picture(), vae=VAE)


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_a_prompt_for_another_denoiser_is_refused(draw, prompt, side):
    with pytest.raises(ValueError, match=rf"{side} was made by Prompt \(Varifold\)"):
        draw(**{side: prompt("hero")})


def test_prompt_takes_no_model(call, make):
    with pytest.raises(ValueError, match="CLIPTextEncode"):
        call("Prompt", denoiser=make(), text="hero")


def test_flow_begins_at_1_at_most(models, draw):
    models.space = FLOW
    with pytest.raises(ValueError, match="take the schedule's σ range from this denoiser"):
        draw(sigmas=torch.tensor([5.0, 0.0]))


@pytest.mark.parametrize(("dimensions", "count"), [(3, 5), (1, 3)])
def test_a_model_of_videos_or_sounds_is_refused(models, make, dimensions, count):
    models.dimensions = dimensions
    with pytest.raises(ValueError, match=f"have {count} dimensions"):
        make()


def test_a_host_without_models_says_so(call):
    with pytest.raises(ValueError, match="MODEL"):
        call("FromModel", model=object())
