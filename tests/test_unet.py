"""The U-Net: its shapes, its condition, its dtypes."""

from dataclasses import asdict, replace

import pytest
import torch

from varifold.models.nets import build
from varifold.models.nets.unet import UNet, UNetConfig

SMALL = UNetConfig(width=16, multipliers=(1, 2), embedding=32, vocabulary=6)


def random_net(config: UNetConfig = SMALL) -> UNet:
    """A net whose last convolutions are not zero, so that everything shows."""
    torch.manual_seed(0)
    net = UNet(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    net.words.weight[0] = 0
    net.no_words.normal_()
    return net


net = random_net()
x = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(1))
noise = torch.tensor([-1.5, -0.5, 0.2, 1.0])
words = torch.stack([net.word_embeddings(rows)[0] for rows in ([1, 2, 0], [3, 0, 0], [0, 0, 0], [5, 4, 1])])


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, patch=1, in_channels=3),
        replace(SMALL, multipliers=(1, 2, 3), blocks=2, attention_levels=(1, 2)),
        replace(SMALL, width=144, multipliers=(1,), attention_levels=(0,)),
        replace(SMALL, attention_levels=()),
    ],
)
def test_output_has_the_shape_of_the_input(config):
    picture = torch.randn(2, config.in_channels, 8, 16)
    model = random_net(config)
    assert model(picture, model.embed(torch.zeros(2))).shape == picture.shape
    assert model.multiple == config.patch * 2 ** (len(config.multipliers) - 1)


def test_every_parameter_has_a_gradient():
    model = random_net().requires_grad_(True)
    model(
        x, model.embed(noise, {"words": model.words(torch.tensor([[1, 2], [3, 4], [5, 1], [2, 2]]))})
    ).sum().backward()
    silent = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert silent == []


def test_untrained_net_says_zero():
    model = UNet(SMALL)
    assert not model(x, model.embed(noise)).any()
    assert not model.words.weight[0].any()


def test_sample_does_not_depend_on_its_batch():
    batch = net(x, net.embed(noise, {"words": words}))
    for i in range(len(x)):
        alone = net(x[i : i + 1], net.embed(noise[i : i + 1], {"words": words[i : i + 1]}))
        torch.testing.assert_close(alone[0], batch[i], rtol=1e-5, atol=1e-5)


def test_one_condition_and_one_noise_level_serve_a_batch():
    emb = net.embed(noise[:1].expand(4), {"words": words[:1]})
    torch.testing.assert_close(emb, net.embed(noise[:1].expand(4), {"words": words[:1].expand(4, -1, -1)}))
    torch.testing.assert_close(net(x, emb[:1]), net(x, emb), rtol=1e-5, atol=1e-5)


def test_words_have_no_order_and_zero_rows_are_no_words():
    said = net.embed(noise, {"words": words})
    torch.testing.assert_close(net.embed(noise, {"words": words.flip(1)}), said)
    padded = torch.cat([torch.zeros(4, 5, 32), words, torch.zeros(4, 2, 32)], 1)
    torch.testing.assert_close(net.embed(noise, {"words": padded}), said)
    assert distance(net.embed(noise, {"words": words[:, :1]}), said) > 0.01


def test_no_words_is_unconditional():
    nothing = net.embed(noise)
    for empty in ({}, {"words": torch.zeros(1, 3, 32)}, {"words": torch.zeros(1, 0, 32)}):
        assert torch.equal(net.embed(noise, empty), nothing)
    assert net.word_embeddings([]).shape == (1, 0, 32)
    assert not net.word_embeddings([0]).any()


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.02), (torch.float16, 0.003), (torch.float64, 1e-5)])
def test_other_dtypes_stay_near_float32(dtype, limit):
    expected = net(x, net.embed(noise, {"words": words}))
    other = random_net().to(dtype)
    result = other(x, other.embed(noise, {"words": words}))
    assert result.dtype == dtype
    assert distance(result, expected) < limit


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"width": 24},
        {"width": 10**9},
        {"width": 48.0},
        {"width": True},
        {"patch": -1},
        {"multipliers": ()},
        {"multipliers": 3},
        {"multipliers": (1,) * 9},
        {"multipliers": (1, "2")},
        {"blocks": 10**6},
        {"attention_levels": (2,)},
        {"attention_levels": (0,) * 5},
        {"vocabulary": 2**40},
        {"heads": 4},
    ],
)
def test_impossible_configs_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change)).replace("attention_levels", "attention").rstrip("s")):
        build("unet", {**asdict(SMALL), **change})


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="unet"):
        build("transformer", {})
