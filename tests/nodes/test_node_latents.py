"""Load Denoiser, Prompt and Sampler with a denoiser of latents: a small random DiT, and a TAESD for its pictures."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from varifold.models.checkpoint import CheckpointError, Spec, load_autoencoder, save_denoiser
from varifold.models.denoising.prepared import Prepared
from varifold.models.denoising.timesteps import table
from varifold.models.nets.dit import DiT, DiTConfig
from varifold.models.nets.tiny_autoencoder import TinyAutoencoder, TinyAutoencoderConfig
from varifold.models.sampling import fit
from varifold.nodes.answers import answer
from varifold.nodes.fit import RANDOM_PROMPTS

SIGMAS = torch.tensor([14.6, 3.0, 0.5, 0.0])
CONFIG = DiTConfig(width=32, depth=2, heads=4, classes=3)
LABELS = ("cat", "coffee, mug", "hero")


def randomised(net: torch.nn.Module, seed: int, scale: float = 0.2) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return net


@pytest.fixture
def files(models_folder):
    levels = table("linear")
    spec = Spec("dit", asdict(CONFIG), "eps", (4, 8, 8), levels[0], levels[-1], channels="sd1", betas="linear",
                labels=LABELS)  # fmt: skip
    save_denoiser(models_folder / "dit.safetensors", randomised(DiT(CONFIG), 1), spec, torch.float32)
    for name, config in {"tiny": TinyAutoencoderConfig(width=8), "other": TinyAutoencoderConfig(16, 8)}.items():
        net = randomised(TinyAutoencoder(config), 2)
        save_file(_as_published(net), models_folder / f"{name}.safetensors")
    return models_folder


def _as_published(net: TinyAutoencoder) -> dict[str, torch.Tensor]:
    from varifold.models.checkpoint.tiny_layout import Half, _key

    halves = {"encoder": Half("taesd_encoder."), "decoder": Half("taesd_decoder.")}
    return {_key(name, halves): tensor for name, tensor in net.state_dict().items()}


@pytest.fixture
def load(call, files):
    return lambda autoencoder="tiny.safetensors": call("LoadDenoiser", file="dit.safetensors", autoencoder=autoencoder)


@pytest.fixture
def draw(call, load):
    denoiser, _ = load()
    return lambda **given: call("Sampler", **{"denoiser": denoiser, "sigmas": SIGMAS, "solver": "euler"} | given)


def test_pictures_have_eight_pixels_a_latent(draw):
    image, mask, latent, _, report = draw(batch=2)
    assert latent["samples"].shape == (2, 4, 8, 8) and image.shape == (2, 64, 64, 3) and mask.shape == (2, 64, 64)
    assert not mask.any() and image.std() > 0.01
    assert "2 pictures of 64×64" in report and "rough" not in report
    assert draw(width=48, height=32)[0].shape == (1, 32, 48, 3)


def test_the_latent_on_the_wire_is_the_autoencoder_s(draw, files):
    image, _, latent, *_ = draw()
    assert torch.equal(load_autoencoder(files / "tiny.safetensors").decode(latent["samples"]), image)


def test_without_an_autoencoder_the_view_is_rough_and_says_so(call, load):
    denoiser, report = load("the file's own")
    assert "autoencoder: none in the file" in report
    image, *_, report = call("Sampler", denoiser=denoiser, sigmas=SIGMAS)
    assert image.shape == (1, 64, 64, 3) and "rough view of the latent" in report
    with pytest.raises(ValueError, match="wire a vae"):
        call("Sampler", denoiser=denoiser, sigmas=SIGMAS, image=torch.rand(1, 64, 64, 3))


def test_the_report_tells_what_makes_the_pictures(call, load):
    assert "autoencoder: tiny.safetensors" in load()[1]
    report = call("LoadDenoiser", autoencoder="tiny.safetensors")[1]
    assert "autoencoder: not used, this denoiser draws pixels" in report


def test_an_autoencoder_of_other_latents_is_refused(load):
    with pytest.raises(CheckpointError, match=r"other\.safetensors.*4 channels.*16"):
        load("other.safetensors")


def test_a_class_by_name_or_number(call, draw, load):
    denoiser, report = load()
    assert "3 labels:" in report and "coffee, mug" in report
    by_name, by_number, other = (call("Prompt", denoiser=denoiser, text=text)[0] for text in ("mug", "1", "hero"))
    drawn = [draw(positive=positive)[2]["samples"] for positive in (by_name, by_number, other, None)]
    assert torch.equal(drawn[0], drawn[1])
    assert (drawn[0] - drawn[2]).abs().max() > 1e-2 and (drawn[0] - drawn[3]).abs().max() > 1e-2
    with pytest.raises(ValueError, match="classes 0 to 2"):
        call("Prompt", denoiser=denoiser, text="7", unknown="error")


def test_guidance_of_a_class_is_one_call(load, call, monkeypatch):
    denoiser, _ = load()
    batches = []
    forward = denoiser.net.forward
    monkeypatch.setattr(denoiser.net, "forward", lambda x, *rest: batches.append(len(x)) or forward(x, *rest))
    positive = call("Prompt", denoiser=denoiser, text="hero")[0]
    call("Sampler", denoiser=denoiser, sigmas=SIGMAS, positive=positive, guidance=2.0, batch=2, solver="euler")
    assert batches == [4, 4, 4]


def test_classes_mix_and_do_not_concatenate(call, draw, load):
    denoiser, _ = load()
    (cat, told), (hero, _) = (call("Prompt", denoiser=denoiser, text=text)[0][0] for text in ("cat", "hero"))
    pure, mixed = (draw(positive=[[tensor, told]])[2]["samples"] for tensor in (cat, (cat + hero) / 2))
    assert (pure - mixed).abs().max() > 1e-2
    with pytest.raises(ValueError, match="one class"):
        draw(positive=[[torch.cat([cat, hero], 1), told]])


def test_a_picture_is_reworked_and_kept_where_the_mask_says(draw):
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 64, 64)
    mask[:, :, 32:] = 1
    image = draw(image=picture, mask=mask)[0]
    assert torch.equal(image[:, :, :32], picture[:, :, :32])
    assert (image[:, :, 32:] - picture[:, :, 32:]).abs().max() > 0.05
    near, far = (draw(image=picture, sigmas=SIGMAS[start:])[0] for start in (2, 0))
    assert (near - far).abs().max() > 0.05


def test_the_start_is_of_unit_variance_as_the_net_sees_it(load):
    denoiser, _ = load()
    assert denoiser.pure_noise(denoiser.sigma_max) == pytest.approx((1 + denoiser.sigma_max**2) ** 0.5)
    assert denoiser.pure_noise(3.0) == 3.0


def test_embeddings_too_many_to_repeat_give_the_same(load, monkeypatch):
    denoiser, _ = load()
    conds = [denoiser.prompt("hero"), None]
    x = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = Prepared(denoiser, [3.0, 1.0], conds, (2, 4, 8, 8))(x, 3.0)
    monkeypatch.setattr("varifold.models.denoising.prepared.MOST_KEPT", 0)
    assert torch.equal(Prepared(denoiser, [3.0, 1.0], conds, (2, 4, 8, 8))(x, 3.0), kept)


def test_a_picture_of_any_size_is_cut_to_one_that_the_net_takes(draw):
    assert draw(image=torch.rand(1, 90, 70, 3))[0].shape == (1, 80, 64, 3)
    with pytest.raises(ValueError, match="multiples of 16, not 32×0"):
        draw(image=torch.rand(1, 10, 40, 3))


def test_a_trace_brings_the_autoencoder_back(call, load, host, monkeypatch):
    """What ran between Sampler and Trace may have sent its weights away, or half of them."""
    denoiser, _ = load()
    trace = call("Sampler", denoiser=denoiser, sigmas=SIGMAS, solver="euler")[3]
    brought = []
    monkeypatch.setattr(type(host), "load", lambda self, *adopted: brought.extend(adopted))
    (frames,) = call("Trace", trace=trace, scale=1)
    assert brought == [denoiser.autoencoder] and frames.shape == (3, 64, 64, 3)


def test_a_guide_reads_the_class_in_its_own_embeddings(load, call, files):
    denoiser, _ = load()
    spec = replace(denoiser.spec, config=asdict(replace(CONFIG, width=16)))
    weak = randomised(DiT(DiTConfig(**spec.config)), 5)
    save_denoiser(files / "weak.safetensors", weak, spec, torch.float32)
    guide, _ = call("LoadDenoiser", file="weak.safetensors")
    hero = denoiser.prompt("hero")
    for cond in (hero, {"label": torch.tensor([2])}):
        assert torch.equal(guide.reading(cond, denoiser)["label"], weak.labels[2:3])
    assert torch.equal(guide.reading(denoiser.prompt(""), denoiser)["label"], weak.labels[-1:])
    with pytest.raises(ValueError, match="mixture"):
        guide.reading({"label": hero["label"] / 2}, denoiser)
    (guided,) = call("Guidance", denoiser=denoiser, method="cfg", guide=guide)
    positive = call("Prompt", denoiser=denoiser, text="hero")[0]
    call("Sampler", denoiser=guided, sigmas=SIGMAS, solver="euler", positive=positive, guidance=2.0)


def test_a_guide_of_other_classes_is_refused(load, call, files):
    denoiser, _ = load()
    spec = replace(denoiser.spec, labels=("cat", "dog", "hero"))
    save_denoiser(files / "other classes.safetensors", denoiser.net, spec, torch.float32)
    guide, _ = call("LoadDenoiser", file="other classes.safetensors")
    with pytest.raises(ValueError, match="other classes"):
        guide.reading(denoiser.prompt("hero"), denoiser)


def test_a_schedule_picks_from_the_levels_that_the_denoiser_was_trained_at(load, call):
    denoiser, _ = load()
    levels = call("Schedule", curve="simple", steps=10, denoiser=denoiser)[0].tolist()
    assert levels == pytest.approx([*(table("linear")[999 - 100 * step] for step in range(10)), 0.0])
    told = answer("schedule", {"widgets": {"curve": "simple", "steps": 10}, "file": "dit.safetensors"})
    assert told["sigmas"] == levels


@pytest.mark.parametrize("prompts", ["hero\ncat", ""])
def test_a_fit_is_for_classes(load, call, monkeypatch, prompts):
    denoiser, _ = load()
    seen = []

    def of_denoiser(denoiser, conds, **options):
        seen.extend(conds)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "of_denoiser", of_denoiser)
    with pytest.raises(KeyboardInterrupt):
        call("FitSchedule", denoiser=denoiser, prompts=prompts)
    labels = torch.cat([cond["label"] for cond in seen])
    if prompts:
        assert torch.equal(labels, denoiser.net.labels[[2, 0]])
    else:
        assert len(labels) == RANDOM_PROMPTS and len(labels.unique(dim=0)) == CONFIG.classes
