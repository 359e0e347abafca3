"""Sampler: from a picture, inside a mask, and from a LATENT."""

import pytest
import torch

from varifold.models import pixels
from varifold.nodes.start import start_of

LOW = torch.tensor([1.0, 0.3, 0.0])
BARELY = torch.tensor([0.01, 0.0])


@pytest.fixture
def sprite(draw, host):
    """A picture that the denoiser would draw: IMAGE [1, 32, 32, 3] and its transparency [1, 32, 32]."""
    with torch.inference_mode(False):
        image, mask, *_ = (part.clone() for part in draw(seed=11)[:2])
    return image, mask


@pytest.fixture
def rgba(sprite):
    image, mask = sprite
    return torch.cat([image, 1 - mask[..., None]], -1)


@pytest.fixture
def half():
    """A mask that repaints the right half."""
    mask = torch.zeros(1, 32, 32)
    mask[..., 16:] = 1
    return mask


def distance(one, other) -> float:
    return (one - other).abs().mean().item()


def test_a_picture_is_reworked_more_from_higher_noise(draw, rgba):
    near, far = draw(image=rgba, sigmas=BARELY), draw(image=rgba, sigmas=torch.tensor([20.0, 2.0, 0.0]))
    assert distance(near[0], rgba[..., :3]) < 0.02 < distance(far[0], rgba[..., :3])
    assert torch.equal(near[1], 1 - rgba[..., 3])
    assert "far below" not in near[-1]


def test_a_batch_from_one_picture_differs(draw, rgba):
    image, *_ = draw(image=rgba, batch=3, sigmas=LOW)
    assert image.shape[0] == 3 and distance(image[0], image[1]) > 1e-3


def test_pictures_set_the_batch(draw, rgba):
    assert draw(image=rgba.repeat(3, 1, 1, 1), sigmas=BARELY)[0].shape[0] == 3
    assert draw(image=rgba.repeat(3, 1, 1, 1), batch=3, sigmas=BARELY)[0].shape[0] == 3
    with pytest.raises(ValueError, match="image has 3 pictures and batch is 2"):
        draw(image=rgba.repeat(3, 1, 1, 1), batch=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.half(),
        lambda image: image.double(),
        lambda image: image.transpose(1, 2).contiguous().transpose(1, 2),
        lambda image: image.repeat(1, 2, 1, 1)[:, :32],
    ],
    ids=["float16", "float64", "transposed", "a view"],
)
def test_pictures_come_in_every_form(change, draw, rgba):
    reference = draw(image=rgba, sigmas=BARELY)[0]
    assert distance(draw(image=change(rgba), sigmas=BARELY)[0], reference) < 2e-3


def test_channels(draw, rgba):
    assert not draw(image=torch.ones(1, 32, 32, 3), sigmas=BARELY)[1].any()
    grey = draw(image=rgba[..., :1], sigmas=BARELY)[0]
    same = draw(image=rgba[..., :1].expand(-1, -1, -1, 3), sigmas=BARELY)[0]
    assert torch.equal(grey, same)
    for shape in ((1, 32, 32, 2), (32, 32, 3), (1, 3, 32, 32), (0, 32, 32, 3)):
        with pytest.raises(ValueError, match="not an IMAGE"):
            draw(image=torch.ones(shape))


@pytest.mark.parametrize("size", [(64, 64), (100, 40), (20, 31), (7, 200)])
def test_pictures_are_scaled_to_cover_the_size(size, draw):
    red = torch.tensor([0.9, 0.1, 0.1]).expand(1, *size, 3)
    image, *_ = draw(image=red, sigmas=BARELY)
    assert image.shape == (1, 32, 32, 3) and distance(image, red[:, :1, :1]) < 0.05
    assert draw(image=red, sigmas=BARELY, width=64, height=40)[0].shape == (1, 40, 64, 3)


def test_outside_the_mask_pixels_are_kept_exactly(draw, rgba, half):
    image, mask, *_ = draw(image=rgba, mask=half)
    kept = (rgba[..., :3] * rgba[..., 3:])[:, :, :16]
    assert (image[:, :, :16] - kept).abs().max() < 1e-6
    assert torch.equal(mask[:, :, :16], 1 - rgba[:, :, :16, 3])
    assert distance(image[:, :, 16:], rgba[:, :, 16:, :3]) > 0.02
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("solver", ["dpmpp_2m", "euler_ancestral", "heun"])
def test_solvers_with_memory_and_noise_keep_them_too(solver, draw, rgba, half):
    image = draw(image=rgba, mask=half, solver=solver)[0]
    assert (image - rgba[..., :3] * rgba[..., 3:])[:, :, :16].abs().max() < 1e-6


def test_masks_all_ones_and_all_zeros(draw, rgba):
    free = draw(image=rgba, mask=torch.ones(1, 32, 32))[2]["samples"]
    assert torch.allclose(free, draw(image=rgba)[2]["samples"], atol=1e-4)
    kept = draw(image=rgba, mask=torch.zeros(1, 32, 32))[2]["samples"]
    assert torch.allclose(kept, pixels.encode(rgba[..., :3], rgba[..., 3], "rgba"), atol=1e-6)


def test_a_soft_mask_blends(draw, rgba):
    states = [draw(image=rgba, mask=torch.full((1, 32, 32), share))[2]["samples"] for share in (0.0, 0.5, 1.0)]
    assert torch.isfinite(states[1]).all()
    assert distance(states[1], states[0]) > 0 and distance(states[1], states[2]) > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask[0],
        lambda mask: mask[:, None],
        lambda mask: mask.half(),
        lambda mask: mask.repeat_interleave(4, 1).repeat_interleave(4, 2),
        lambda mask: mask * 7,
    ],
    ids=["2-D", "4-D", "float16", "4 times larger", "out of range"],
)
def test_masks_come_in_every_form(change, draw, rgba, half):
    expected = draw(image=rgba, mask=half)[0]
    assert torch.allclose(draw(image=rgba, mask=change(half))[0], expected, atol=1e-6)


def test_masks_for_a_batch(draw, rgba, half):
    both = torch.cat([half, 1 - half])
    image, *_ = draw(image=rgba, mask=both, batch=2)
    source = (rgba[..., :3] * rgba[..., 3:])[0]
    assert (image[0] - source)[:, :16].abs().max() < 1e-6 and (image[1] - source)[:, 16:].abs().max() < 1e-6
    with pytest.raises(ValueError, match="2 masks for 3 pictures"):
        draw(image=rgba, mask=both, batch=3)
    with pytest.raises(ValueError, match="2 masks for 1 pictures"):
        draw(image=rgba, mask=both)
    with pytest.raises(ValueError, match="not a MASK"):
        draw(image=rgba, mask=torch.ones(1, 3, 32, 32))


def test_a_mask_needs_a_picture(draw, half):
    with pytest.raises(ValueError, match="a mask needs a picture to keep"):
        draw(mask=half)


def test_loadimages_zero_mask_is_none(draw, rgba):
    zeros = torch.zeros(1, 64, 64)
    assert torch.equal(draw(mask=zeros)[0], draw()[0])
    assert torch.equal(draw(image=rgba, mask=zeros)[0], draw(image=rgba)[0])


def test_hidden_colours_do_not_bleed_into_the_rim(embedded):
    """Scaled to half, red rows between nearly transparent ones stay red, whatever colour those hide."""
    image = torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(1, 64, 64, 1)
    image[:, 1::2] = torch.tensor([0.0, 1.0, 1.0, 0.2])
    start, _, _ = start_of(embedded, image, None, None, 1, 0, 0)
    rgb, alpha = pixels.decode(start, "rgba")
    assert (alpha == 1).all() and (rgb[..., 0] > 0.8).all()


def test_a_picture_with_nan_is_not_blamed_on_the_denoiser(draw):
    with pytest.raises(ValueError, match="this IMAGE has NaN"):
        draw(image=torch.full((1, 32, 32, 3), torch.nan))


def test_image_and_latent_together_are_refused(draw, rgba):
    with pytest.raises(ValueError, match="both wired"):
        draw(image=rgba, latent={"samples": torch.zeros(1, 4, 32, 32)})


def test_a_latent_sets_size_and_batch(draw):
    image, _, latent, *_ = draw(latent={"samples": torch.zeros(2, 4, 24, 40)}, batch=7, width=64)
    assert image.shape == (2, 24, 40, 3) and "batch_index" not in latent


def test_an_empty_latent_draws_as_none(draw):
    from_latent = draw(latent={"samples": torch.zeros(2, 4, 32, 32)}, seed=6)
    assert torch.allclose(from_latent[2]["samples"], draw(batch=2, seed=6)[2]["samples"], atol=1e-4)


def test_a_latent_goes_round(draw):
    latent = draw(seed=8)[2]
    again = draw(latent=latent, sigmas=torch.tensor([0.002, 0.0]))
    assert distance(again[2]["samples"], latent["samples"]) < 0.02
    assert distance(again[0], draw(seed=8)[0]) < 0.01


@pytest.mark.parametrize("batch_index", [[0, 3], (0, 3), torch.tensor([0, 3])], ids=["list", "tuple", "tensor"])
def test_batch_index_numbers_the_streams(batch_index, draw):
    latent = {"samples": torch.zeros(2, 4, 32, 32), "batch_index": batch_index}
    _, _, out, *_ = draw(latent=latent)
    assert list(out["batch_index"]) == [0, 3] and all(type(index) is int for index in out["batch_index"])
    assert torch.allclose(out["samples"], draw(batch=4)[2]["samples"][[0, 3]], atol=1e-4)


def test_a_batch_index_of_another_length_is_refused(draw):
    with pytest.raises(ValueError, match="2 pictures and 1 numbers"):
        draw(latent={"samples": torch.zeros(2, 4, 32, 32), "batch_index": [0]})


@pytest.mark.parametrize("dims", [lambda mask: mask, lambda mask: mask[:, None]], ids=["3-D", "as SetLatentNoiseMask"])
def test_a_latents_noise_mask_is_honoured(dims, draw, half):
    samples = draw(seed=8)[2]["samples"]
    out = draw(latent={"samples": samples, "noise_mask": dims(half)}, seed=1)[2]["samples"]
    assert torch.equal(out[..., :16], samples[..., :16])
    assert distance(out[..., 16:], samples[..., 16:]) > 0.02
    other_half = draw(latent={"samples": samples, "noise_mask": dims(half)}, mask=1 - half, seed=1)[2]["samples"]
    assert torch.equal(other_half[..., 16:], samples[..., 16:])


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (torch.zeros(1, 16, 1, 32, 32), "5-dimensional"),
        (torch.zeros(4, 32, 32), "3-dimensional"),
        (torch.zeros(1, 16, 32, 32), "4 channels, and the state has 16"),
        (torch.zeros(1, 4, 30, 32), "multiples of 8"),
    ],
)
def test_latents_that_do_not_fit_are_refused(samples, reason, draw):
    with pytest.raises(ValueError, match=reason):
        draw(latent={"samples": samples})


def test_a_nested_latent_is_refused(draw):
    class Nested:
        is_nested = True

    with pytest.raises(ValueError, match="nested"):
        draw(latent={"samples": Nested()})


def test_a_float16_latent_is_drawn_in_float32(draw):
    assert draw(latent={"samples": torch.zeros(1, 4, 32, 32).half()})[2]["samples"].dtype == torch.float32


def test_a_schedule_that_stops_early_hands_on_its_state(draw):
    class Silence:
        seed = 0

        def generate_noise(self, latent):
            return torch.zeros_like(latent["samples"])

    whole = draw(seed=5)[2]["samples"]
    first = draw(seed=5, sigmas=torch.tensor([80.0, 5.0]))[2]
    assert 3 < first["samples"].std() < 7
    rest = draw(latent=first, noise=Silence(), sigmas=torch.tensor([5.0, 0.5, 0.0]))[2]["samples"]
    assert torch.allclose(rest, whole, atol=1e-3)


def test_in_flow_space_the_state_is_divided_by_alpha(draw, call, models_folder):
    from dataclasses import asdict

    import torch

    from varifold.models import load_denoiser, sample
    from varifold.models.checkpoint import Spec, save_denoiser
    from varifold.models.nets.unet import UNet, UNetConfig

    config = UNetConfig(width=16, multipliers=(1,), attention_levels=(), embedding=16)
    spec = Spec("unet", asdict(config), "flow", (4, 8, 8), 0.001, 1.0, space="flow")
    save_denoiser(models_folder / "flow.safetensors", UNet(config), spec, dtype=torch.float32)
    flow = load_denoiser(models_folder / "flow.safetensors")
    levels = [1.0, 0.7, 0.4]
    out = draw(denoiser=flow, sigmas=torch.tensor(levels), seed=2)[2]["samples"]
    levels = torch.tensor(levels).tolist()
    assert torch.allclose(out, sample(flow, levels, solver="euler", seed=2) / (1 - levels[-1]), atol=1e-5)
    with pytest.raises(ValueError, match="in flow space σ ends at 1"):
        draw(denoiser=flow)


def test_inputs_are_never_modified(draw, rgba, half):
    samples = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    latent = {"samples": samples, "batch_index": [3], "noise_mask": half[:, None]}
    before = [tensor.clone() for tensor in (rgba, half, samples)]
    draw(image=rgba, mask=half)
    outputs = draw(latent=latent, sigmas=LOW)
    for output in (outputs[0], outputs[1], outputs[2]["samples"]):
        with torch.inference_mode():
            output.fill_(0.5)
    assert all(torch.equal(*pair) for pair in zip((rgba, half, samples), before, strict=True))
    assert set(latent) == {"samples", "batch_index", "noise_mask"} and latent["batch_index"] == [3]
