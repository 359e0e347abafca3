"""Load Generator and Generate."""

from dataclasses import asdict

import pytest
import torch

from varifold.models.checkpoint import Spec, fingerprint, save_denoiser
from varifold.models.generating import save_generator
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.models.train.adversarial import gan_from_scratch
from varifold.models.train.autoencoding import autoencoder_from_scratch
from varifold.nodes.generate import NONE, VarifoldLoadGenerator
from varifold.nodes.model import ModelDenoiser
from varifold.studio.errors import Cancelled

WORDS = ("<null>", "hero", "robe")


def files() -> list[str]:
    return VarifoldLoadGenerator.INPUT_TYPES()["required"]["file"][0]


@pytest.fixture
def save(models_folder):
    """Writes a generator of 8×8 pixels with weights by chance: `save("vae")`."""

    def save(kind: str, words=WORDS) -> str:
        torch.manual_seed(0)
        shape = (4, 8, 8)
        if kind == "gan":
            net, _, spec = gan_from_scratch(shape, "rgba", words, "tiny", title="mine")
        else:
            net, spec = autoencoder_from_scratch(shape, "rgba", words, "tiny", variational=kind == "vae", title="mine")
        for parameter in net.parameters():
            if parameter.ndim == 4 and not parameter.any():  # else nothing would depend on the words
                torch.nn.init.normal_(parameter, std=0.1)
        if kind == "autoencoder":
            net.fit_latents(torch.randn(99, *net.noise_shape), net.embed().expand(99, -1).detach())
        save_generator(models_folder / f"{kind}.safetensors", net, spec)
        return f"{kind}.safetensors"

    return save


@pytest.fixture(params=["vae", "autoencoder", "gan"])
def generator(request, save, call):
    return call("LoadGenerator", file=save(request.param))[0]


def test_the_menu_is_none_the_files_and_what_was_trained(save, models_folder, host, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIFOLD_OUTPUT", str(tmp_path / "out"))
    monkeypatch.setattr(type(host), "output_folder", lambda self: tmp_path / "out")
    assert files() == [NONE]
    name = save("vae")
    assert files() == [NONE, name]
    (tmp_path / "out/training/my/gan").mkdir(parents=True)
    (models_folder / name).rename(tmp_path / "out/training/my/gan/gan.safetensors")
    assert files() == [NONE, "training/my/gan"]
    monkeypatch.setattr("varifold.nodes.generate.find", lambda: None)
    assert files()[0] == NONE


@pytest.mark.parametrize(
    ("kind", "said"),
    [("vae", "a variational autoencoder"), ("autoencoder", "latents are taken for Gaussian"), ("gan", "of a GAN")],
)
def test_the_report_tells_what_its_tooltip_promises(call, save, kind, said):
    generator, report = call("LoadGenerator", file=save(kind))
    assert generator.kind == kind and not any(parameter.is_inference() for parameter in generator.net.parameters())
    for part in ("mine", said, "8×8", "2 words:", "hero, robe", "licence: not stated"):
        assert part in report


def test_it_draws_and_picture_k_is_alike_in_any_batch(call, generator):
    image, mask, report = call("Generate", generator=generator, words="hero", batch=3, seed=5)
    assert image.shape == (3, 8, 8, 3) and mask.shape == (3, 8, 8)
    assert image.dtype == mask.dtype == torch.float32 and not image.requires_grad
    assert "3 pictures of 8×8" in report and generator.kind in report
    alone, _, _ = call("Generate", generator=generator, words="hero", batch=1, seed=5)
    many, _, _ = call("Generate", generator=generator, words="hero", batch=70, seed=5)
    torch.testing.assert_close(many[:3], image, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, image[:1], atol=1e-5, rtol=0)
    assert (image[0] - image[1]).abs().max() > 1e-3
    for other in ({"seed": 6}, {"words": "robe"}, {"words": ""}):
        changed, _, _ = call("Generate", **{"generator": generator, "words": "hero", "batch": 3, "seed": 5} | other)
        assert (changed - image).abs().max() > 1e-3


def test_how_the_words_were_read_is_told(call, generator):
    assert "'heros' is not known and was read as 'hero'" not in call("Generate", generator=generator, words="heros")[2]
    assert "'herp' is not known and was read as 'hero'" in call("Generate", generator=generator, words="herp")[2]


def test_one_that_knows_no_words_draws_without(call, save):
    generator, _ = call("LoadGenerator", file=save("vae", words=()))
    assert call("Generate", generator=generator, batch=2)[0].shape == (2, 8, 8, 3)
    with pytest.raises(ValueError, match="this generator knows no words: leave words empty"):
        call("Generate", generator=generator, words="hero")


def test_a_denoiser_draws_what_sampler_draws(call, embedded, prompt):
    image, mask, report = call("Generate", denoiser=embedded, words="hero robe", batch=2, seed=3, steps=4)
    (sigmas,) = call("Schedule", curve="karras", steps=4, denoiser=embedded)
    expected = call(
        "Sampler", denoiser=embedded, sigmas=sigmas, solver="dpmpp_2m", positive=prompt("hero robe"), batch=2, seed=3
    )
    torch.testing.assert_close(image, expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(mask, expected[1])
    assert "2 pictures of 32×32" in report and "denoiser, 4 steps of dpmpp_2m, guidance 1.5" in report


@pytest.mark.parametrize("space", ["ve", "flow"])
def test_a_toy_draws_without_words(call, space):
    (toy,) = call("Toy", space=space)
    assert call("Generate", denoiser=toy, steps=3, batch=1)[0].shape == (1, 320, 320, 3)
    with pytest.raises(ValueError, match="this denoiser knows no words: leave words empty"):
        call("Generate", denoiser=toy, words="hero")


def test_exactly_one_is_wired(call, generator, embedded):
    for wired in ({}, {"generator": generator, "denoiser": embedded}):
        with pytest.raises(ValueError, match="wire either a generator or a denoiser"):
            call("Generate", **wired)


def test_a_denoiser_of_prompts_is_for_sampler(call):
    with pytest.raises(ValueError, match="draw with Sampler"):
        call("Generate", denoiser=ModelDenoiser(None, None, None, None))


def test_it_can_be_cancelled_and_shows_how_far_it_is(call, generator, host, events):
    call("Generate", generator=generator, batch=130)
    assert [data["value"] for event, data in events if event == "progress"] == [0, 64, 128, 130]
    host.cancel.set()
    with pytest.raises(Cancelled):
        call("Generate", generator=generator, batch=1)


def test_what_is_no_generator_is_refused_in_words(call, models_folder, save_small, save):
    with pytest.raises(ValueError, match="choose a generator"):
        call("LoadGenerator", file=NONE)
    with pytest.raises(ValueError, match="in the model folders: choose another"):
        call("LoadGenerator", file="gone.safetensors")
    save_small(models_folder / "denoiser.safetensors")
    with pytest.raises(ValueError, match=r"denoiser\.safetensors.*load it with Load Denoiser \(Varifold\)"):
        call("LoadGenerator", file="denoiser.safetensors")
    name, config = save("gan"), UNetConfig(width=16, multipliers=(1,), attention_levels=(), embedding=16)
    spec = Spec("unet", asdict(config), "edm", (4, 8, 8), 0.01, 20, channels="sd1")
    save_denoiser(models_folder / "latent.safetensors", UNet(config), spec)
    with pytest.raises(ValueError, match=r"gan\.safetensors.*is a generator.*Load Generator \(Varifold\)"):
        call("LoadDenoiser", file=name)
    with pytest.raises(ValueError, match=r"gan\.safetensors.*is a generator.*Load Generator \(Varifold\)"):
        call("LoadDenoiser", file="latent.safetensors", autoencoder=name)


def test_is_changed_follows_what_is_in_the_file(models_folder, save):
    name = save("gan")
    before = VarifoldLoadGenerator.IS_CHANGED(name)
    assert before == fingerprint(models_folder / name)
    save("gan", words=())
    assert VarifoldLoadGenerator.IS_CHANGED(name) != before
    assert VarifoldLoadGenerator.IS_CHANGED(NONE) == ""
