"""Generators: what they draw, their files, and what is refused."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hostile_readers import Allocations
from safetensors.torch import load_file, save_file

from varifold.models.checkpoint import CheckpointError, identity
from varifold.models.checkpoint.file import EMBEDDED
from varifold.models.checkpoint.spec import GENERATOR_KEY
from varifold.models.generating import Generator, GeneratorSpec, load_generator, report, save_generator
from varifold.models.generating.spec import spec_from_json
from varifold.models.nets import GENERATORS, build
from varifold.models.train.adversarial import gan_from_scratch
from varifold.models.train.autoencoding import autoencoder_from_scratch
from varifold.models.train.chance import Chance
from varifold.models.train.pyramid import SIZES

KINDS = ("vae", "autoencoder", "gan")
WORDS = ("<null>", "hero", "robe")
SHAPE = (4, 16, 8)


def make(kind: str, words=WORDS, size="tiny", shape=SHAPE, seed=0, **about):
    channels = "rgba" if shape[0] == 4 else "rgb"
    if kind == "gan":
        net, _, spec = gan_from_scratch(shape, channels, words, size, seed=seed, **about)
    else:
        variational = kind == "vae"
        net, spec = autoencoder_from_scratch(shape, channels, words, size, variational=variational, seed=seed, **about)
    torch.manual_seed(seed)
    for parameter in net.parameters():
        if parameter.ndim == 4 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    if kind == "autoencoder":
        net.fit_latents(torch.randn(99, *net.noise_shape), net.embed().expand(99, -1).detach())
    return net, spec


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def generator(kind, path):
    save_generator(path, *make(kind, title="mine", licence="CC0-1.0", trained_on="drawings"))
    return load_generator(path)


def test_a_file_comes_back_as_it_was(kind, path, generator):
    net, spec = make(kind, title="mine", licence="CC0-1.0", trained_on="drawings")
    assert generator.spec == spec and generator.kind == kind and generator.net.config == net.config
    assert generator.shape == SHAPE and generator.channels == "rgba" and generator.vocabulary.words == WORDS
    for name, tensor in net.state_dict().items():
        assert torch.equal(generator.net.state_dict()[name], tensor), name
    assert not any(parameter.requires_grad for parameter in generator.net.parameters())
    assert generator.identity == identity(path)
    for part in ("mine", "2 words:", "8×16", "CC0-1.0", "drawings", f"{generator.parameters:,} parameters"):
        assert part in report(generator)


def test_it_draws_what_noise_and_words_say(kind, generator):
    noise = torch.randn(3, *generator.noise_shape, generator=torch.Generator().manual_seed(0))
    hero = generator.prompt("hero")
    x = generator.draw(noise, hero)
    assert x.shape == (3, *SHAPE) and x.dtype == torch.float32 and not x.requires_grad
    torch.testing.assert_close(generator.draw(noise[1:2], hero), x[1:2], atol=1e-5, rtol=1e-4)
    for other in (generator.draw(noise.flip(0), hero), generator.draw(noise, generator.prompt("robe"))):
        assert (other - x).abs().max() > 1e-3
    both = torch.cat([generator.prompt(word)["words"] for word in ("hero", "robe", "hero")])
    each = generator.draw(noise, {"words": both})
    torch.testing.assert_close(each[[0, 2]], x[[0, 2]], atol=1e-5, rtol=1e-4)
    rgb, alpha = generator.pictures(x)
    assert rgb.shape == (3, 16, 8, 3) and alpha.shape == (3, 16, 8)


def test_no_words_are_those_of_training_without_any(generator):
    noise = torch.randn(2, *generator.noise_shape)
    silent = generator.draw(noise)
    for rows in (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 0, dtype=torch.long)):
        torch.testing.assert_close(generator.draw(noise, generator.saying(rows)), silent, atol=1e-5, rtol=1e-4)
    hero = torch.tensor([[1, 0], [0, 1]])
    told = generator.draw(noise, generator.saying(hero))
    torch.testing.assert_close(told, generator.draw(noise, generator.prompt("hero")), atol=1e-5, rtol=1e-4)


def test_an_autoencoder_encodes_decodes_and_says_how_likely():
    for kind in KINDS[:2]:
        net, spec = make(kind)
        generator = Generator(net, spec)
        x = torch.randn(4, *SHAPE)
        z = generator.encode(x)
        assert z.shape == (4, *generator.noise_shape) and generator.decode(z).shape == x.shape
        rows = torch.tensor([[1], [2], [0], [0]])
        if kind == "vae":
            one, many = (generator.bound(x, rows, Chance(0, 0, 4), samples) for samples in (1, 64))
            assert one.shape == (4,) and many.mean() < one.mean()
        else:
            with pytest.raises(ValueError, match="no likelihood in an autoencoder"):
                generator.bound(x, rows, Chance(0, 0, 4))


def test_a_gan_cannot_encode(path):
    save_generator(path, *make("gan"))
    generator = load_generator(path)
    with pytest.raises(ValueError, match="a gan cannot encode"):
        generator.encode(torch.zeros(1, *SHAPE))
    with pytest.raises(ValueError, match="a gan cannot decode"):
        generator.decode(torch.zeros(1, *generator.noise_shape))
    with pytest.raises(ValueError, match="no likelihood in a gan"):
        generator.bound(torch.zeros(1, *SHAPE), torch.zeros(1, 0, dtype=torch.long), Chance(0, 0, 1))


def test_what_does_not_fit_is_refused(generator):
    with pytest.raises(ValueError, match="noise should have the shape"):
        generator.draw(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="cannot follow a condition of label"):
        generator.draw(torch.zeros(1, *generator.noise_shape), {"label": torch.zeros(1, 3)})
    net, spec = make("vae", words=())
    with pytest.raises(ValueError, match="knows no words"):
        type(generator)(net, spec).prompt("hero")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_it_computes_in_the_dtype_asked_for(dtype, kind, path):
    save_generator(path, *make(kind))
    exact = load_generator(path)
    generator = load_generator(path, dtype=dtype)
    assert generator.dtype == getattr(torch, dtype)
    noise = torch.randn(2, *generator.noise_shape)
    x = generator.draw(noise, generator.prompt("hero"))
    assert x.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    torch.testing.assert_close(x.float(), exact.draw(noise, exact.prompt("hero")), atol=0.2, rtol=0.05)


def test_the_same_seed_is_the_same_net_and_takes_nobodys_chance(kind):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (
        (gan_from_scratch(SHAPE, "rgba", WORDS, "tiny", seed=seed) if kind == "gan" else make_net(kind, seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.words.weight, other.words.weight)


def make_net(kind, seed):
    return autoencoder_from_scratch(SHAPE, "rgba", WORDS, "tiny", variational=kind == "vae", seed=seed)


@pytest.mark.parametrize("shape", [(3, 8, 8), (4, 32, 32), (3, 64, 48), (3, 28, 28), (3, 7, 5), (3, 1, 1)])
def test_there_is_a_net_for_pictures_of_any_size(kind, shape):
    for size in ("tiny", "large"):
        net, spec = make(kind, words=(), size=size, shape=shape)
        with torch.no_grad():
            assert net.draw(torch.zeros(1, *net.noise_shape), net.embed()).shape == (1, *shape)
        assert spec.shape == shape


def test_a_size_that_there_is_not_is_refused(kind):
    with pytest.raises(ValueError, match=f"no size 'vast': choose {', '.join(SIZES)}"):
        make(kind, size="vast")


def test_a_spec_is_json_and_keeps_what_a_newer_version_says(kind):
    _, spec = make(kind)
    text = json.dumps({**json.loads(spec.to_json()), "mood": [1, 2]})
    again = spec_from_json(text)
    assert again == replace(spec, extra={"mood": [1, 2]}) and json.loads(again.to_json())["mood"] == [1, 2]


BAD_SPECS = {
    "no JSON": ("{", "is not JSON"),
    "a list": ("[]", "is not a JSON object"),
    "empty": ("{}", "lacks architecture, channels, config, shape, version"),
    "newer": ({"version": 2}, "is of version 2, newer than this Varifold's 1: update"),
    "odd version": ({"version": "one"}, "version should be 1 to 1"),
    "unknown net": ({"architecture": "oracle"}, "unknown architecture 'oracle'"),
    "no text": ({"architecture": 3}, "architecture should be a printable text"),
    "no table": ({"config": []}, "config should be a table"),
    "strange setting": ({"config": {"depth": 3}}, "has no setting 'depth'"),
    "impossible setting": ({"config": {"width": -16}}, "width should be a whole number from 16"),
    "odd width": ({"config": {"width": 17}}, "width should be a multiple of 16"),
    "many levels": ({"config": {"multipliers": [1] * 7}}, "multipliers should name 1 to 6 levels"),
    "sides of one": ({"config": {"sides": [8]}}, "sides should be a height and a width"),
    "sides that do not fit": ({"config": {"sides": [7, 8], "patch": 2}}, "every side should be a multiple of"),
    "vast sides": ({"config": {"sides": [4096, 8]}}, "every side should be a whole number from 1 to 1024"),
    "too big": ({"config": {"width": 2048}}, "are missing|needs"),
    "another shape": ({"shape": [4, 8, 8]}, "draws pictures of shape"),
    "flat": ({"shape": [4, 8]}, r"shape should be \[channels"),
    "latents": ({"channels": "sd1"}, "channels should be one of rgb, rgba"),
    "channels that differ": ({"channels": "rgb"}, "channels should be as many as shape says"),
    "more words": ({"vocabulary": ["a", "b", "c", "d"]}, "its vocabulary has 4 words and its net 3"),
    "the same word": ({"vocabulary": ["a", "a", "b"]}, "a list of different words"),
    "a bell": ({"title": "\a"}, "title should be a printable text"),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_a_spec_that_cannot_be_is_refused(kind, path, case):
    net, spec = make(kind)
    changes, message = BAD_SPECS[case]
    text = changes
    if isinstance(changes, dict):
        values = json.loads(spec.to_json())
        config = {**values["config"], **changes["config"]} if isinstance(changes.get("config"), dict) else None
        text = json.dumps({**values, **changes, **({"config": config} if config else {})})
    save_file(net.state_dict(), path, metadata={GENERATOR_KEY: text})
    with Allocations() as allocations, pytest.raises(CheckpointError, match=message) as caught:
        load_generator(path)
    assert path.name in str(caught.value) and allocations.tensors < 1000


def test_tensors_that_are_missing_or_too_many_are_refused(kind, path):
    save_generator(path, *make(kind))
    tensors, spec = load_file(path), make(kind)[1].to_json()
    name = "words.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, f"1 tensors are missing, the first is {name}"),
        ({**tensors, "more": torch.zeros(1)}, "1 of its tensors belong to no layer, the first is 'more'"),
        ({**tensors, name: torch.zeros(2, 2)}, f"{name} has shape"),
        ({**tensors, name: tensors[name] * float("nan")}, "NaN or infinity"),
    ):
        save_file(changed, path, metadata={GENERATOR_KEY: spec})
        with pytest.raises(CheckpointError, match=message):
            load_generator(path)


def test_what_is_no_generator_is_refused(path):
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"is no generator.*Load Denoiser"):
        load_generator(path)
    with pytest.raises(CheckpointError, match="is a denoiser and no generator"):
        load_generator(EMBEDDED)
    with pytest.raises(CheckpointError, match="computes in float16"):
        load_generator(path, dtype="int8")


def test_saving_what_does_not_belong_together_leaves_the_old_file(path):
    save_generator(path, *make("vae"))
    before = path.read_bytes()
    net, spec = make("vae", size="small")
    with pytest.raises(CheckpointError):
        save_generator(path, net, make("vae")[1])
    torch.nn.init.constant_(net.out.bias, float("inf"))
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        save_generator(path, net, spec)
    assert path.read_bytes() == before and [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_plain_latent_too_large_to_know_is_refused():
    config = asdict(make("autoencoder")[0].config) | {"sides": (1024, 1024)}
    with pytest.raises(ValueError, match="latent_channels should make plain latents of at most 4096 numbers"):
        build("picture_autoencoder", config, GENERATORS)


def test_a_spec_says_what_is_wrong_when_it_is_made():
    with pytest.raises(ValueError, match="channels should be one of rgb, rgba"):
        GeneratorSpec("gan", {}, (3, 8, 8), "cmyk")
