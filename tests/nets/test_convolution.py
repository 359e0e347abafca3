"""3×3 convolutions by fewer multiplications or by one product: the same sums as PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from varifold.models.nets import winograd
from varifold.models.nets.convolution import Conv3x3
from varifold.models.nets.latent_unet import LatentUNet, LatentUNetConfig
from varifold.models.nets.winograd import convolve

torch.set_num_threads(1)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("band", "chunk"), [(10**9, 10**9), (20_000, 10**9), (10**9, 5_000), (1, 1)])
@pytest.mark.parametrize("shape", [(2, 24, 16, 24), (1, 5, 4, 40), (3, 64, 8, 4)])
def test_it_is_a_convolution(monkeypatch, shape, band, chunk):
    monkeypatch.setattr(winograd, "BAND", band)
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x = random(*shape, seed=1).to(memory_format=torch.channels_last)
    weight, bias = random(7, shape[1], 3, 3, seed=2) / (3 * shape[1] ** 0.5), random(7, seed=3)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    said = convolve(x, weight, bias)
    assert said.is_contiguous(memory_format=torch.channels_last)
    assert (said - expected).norm() / expected.norm() < 5e-6


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, "winograd"),
        ({"dtype": torch.float64}, "library"),
        ({"dtype": torch.bfloat16}, "library"),
        ({"side": 34}, "library"),
        ({"side": 16}, "library"),
        ({"grad": True}, "library"),
        ({"stride": 2}, "library"),
        ({"side": 8}, "product"),
        ({"side": 8, "grad": True}, "product"),
        ({"side": 8, "dtype": torch.bfloat16}, "product"),
        ({"side": 16, "stride": 2}, "product"),
        ({"side": 2, "stride": 2}, "product"),
    ],
)
def test_each_way_is_taken_where_it_pays(monkeypatch, change, taken):
    dtype, side, stride = change.get("dtype", torch.float32), change.get("side", 32), change.get("stride", 1)
    ways, layer = [], Conv3x3(8, 6, stride).to(dtype)
    with torch.set_grad_enabled(change.get("grad", False)):
        x = random(1, 8, side, side, seed=1).to(dtype).contiguous(memory_format=torch.channels_last)
        expected = F.conv2d(x, layer.weight, layer.bias, stride=stride, padding=1)
        monkeypatch.setattr(winograd, "convolve", lambda *given: ways.append("winograd") or convolve(*given))
        for name, way in {"product": F.linear, "library": F.conv2d}.items():
            monkeypatch.setattr(F, way.__name__, lambda *given, n=name, way=way: ways.append(n) or way(*given))
        said = layer(x)
    exact = {"rtol": 1e-4, "atol": 1e-5} if dtype != torch.bfloat16 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(said, expected, **exact)
    assert ways == [taken] and said.is_contiguous(memory_format=torch.channels_last)


def test_a_whole_net_says_the_same(monkeypatch):
    config = LatentUNetConfig(width=32, multipliers=(1, 2), blocks=1, depths=(0, 1), heads=4, context=24)
    net = LatentUNet(config).eval()
    for number, parameter in enumerate(net.parameters()):
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data = scale * random(*parameter.shape, seed=number)
    x, cond = random(1, 4, 48, 40, seed=1), {"tokens": random(1, 7, 24, seed=2)}
    calls = []
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    with torch.no_grad():
        said = net(x, net.embed(torch.tensor([500.0]), cond), net.context(cond))
        assert len(calls) > 5
        net.double()
        expected = net(x.double(), net.embed(torch.tensor([500.0]), cond), net.context(cond))
    assert (said - expected).abs().max() < 1e-5 * expected.abs().max()
