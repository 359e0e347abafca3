"""Noise streams: Philox as published, normal, and independent of everything but (seed, index, noise, element)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from varifold.models.sampling.noise import Noise, normals

# philox4x64-10 of Random123's kat_vectors (Salmon et al. 2011): counter, key, and what comes out.
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (2**64 - 1,) * 4,
        (2**64 - 1,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def philox(counter, key):
    """Philox4x64-10, written from the paper (figure 4 and table 2)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (right >> 64) ^ c1 ^ k0, right % 2**64, (left >> 64) ^ c3 ^ k1, left % 2**64
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return c0, c1, c2, c3


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_the_reference_gives_the_known_answers(counter, key, answer):
    assert philox(counter, key) == answer


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_numpy_s_philox_is_the_same_but_counts_first(counter, key, answer):
    """numpy adds one to the counter, the first word being the lowest, before the first block."""
    before = (sum(word << (64 * place) for place, word in enumerate(counter)) - 1) % 2**256
    words = np.array([(before >> (64 * place)) % 2**64 for place in range(4)], dtype=np.uint64)
    generator = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=words)
    assert tuple(int(word) for word in generator.random_raw(4)) == answer


@pytest.mark.parametrize(
    ("seed", "index", "noise"), [(0, 0, 0), (7, 3, 5), (2**64 - 1, 12, 1), (-1, 0, 2), (2**70 + 5, 2**40, 999)]
)
def test_normals_are_box_muller_on_philox(seed, index, noise):
    """Block j of a stream has the counter (j + 1, 0, 0, noise id) and the key (seed, index)."""
    count = 10
    words = [w for j in range(3) for w in philox((j + 1, 0, 0, noise), (seed % 2**64, index % 2**64))][:count]
    u = [((word >> 11) + 0.5) / 2**53 for word in words]
    radius = np.sqrt(-2 * np.log(u[::2]))
    angle = 2 * np.pi * np.array(u[1::2])
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()
    assert np.allclose(normals(seed, index, noise, count), expected, rtol=1e-13, atol=1e-15)


def test_an_element_does_not_depend_on_how_many_there_are():
    longest = normals(7, 3, 5, 1001)
    for count in (0, 1, 2, 3, 4, 5, 8, 9, 1000):
        assert np.array_equal(normals(7, 3, 5, count), longest[:count])


def test_they_are_normal():
    drawn = normals(1, 0, 0, 100_000)
    assert drawn.dtype == np.float64
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert abs(drawn.mean()) < 4 / np.sqrt(len(drawn))
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2 / len(drawn))
    assert abs(stats.kurtosis(drawn)) < 4 * np.sqrt(24 / len(drawn))
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / np.sqrt(len(drawn))


def test_streams_are_independent():
    """Seeds, samples and noises that are neighbours, and pairs that a sum of the three would confuse."""
    streams = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (2, 0, 0), (0, 0, 2), (-1, 0, 0)]
    drawn = np.stack([normals(*stream, 20_000) for stream in streams])
    correlation = np.corrcoef(drawn) - np.eye(len(streams))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_seeds_wrap_at_64_bits_and_may_be_negative():
    assert np.array_equal(normals(-1, 0, 0, 8), normals(2**64 - 1, 0, 0, 8))
    assert np.array_equal(normals(2**64 + 3, 0, 0, 8), normals(3, 0, 0, 8))
    assert not np.array_equal(normals(2**63, 0, 0, 8), normals(0, 0, 0, 8))


def test_a_batch_is_its_samples():
    """Picture 3 of 4 has the noise that it has alone, whatever is beside it."""
    shape = (3, 4, 5)
    four = Noise(7, range(4), shape)(2)
    assert four.shape == (4, *shape)
    assert torch.equal(Noise(7, [3], shape)(2)[0], four[3])
    assert torch.equal(Noise(7, [2, 0, 2], shape)(2), four[[2, 0, 2]])
    assert not torch.equal(four[0], four[1])
    assert not torch.equal(Noise(7, [0], shape)(1)[0], four[0])
    assert not torch.equal(Noise(8, [0], shape)(2)[0], four[0])


def test_a_noise_is_rounded_from_float64():
    exact = Noise(7, [0], (2, 3), dtype=torch.float64)(0)
    assert exact.dtype == torch.float64
    assert np.array_equal(exact.numpy().ravel(), normals(7, 0, 0, 6))
    rounded = Noise(7, [0], (2, 3))(0)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact.float())


def test_the_order_of_calls_does_not_matter():
    noise = Noise(7, range(2), (3,))
    first = noise(4)
    noise(1)
    assert torch.equal(noise(4), first)
