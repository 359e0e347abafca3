"""Attention shared with a style: closed forms, identities, and what its strength and shares do."""

from math import sqrt

import pytest
import torch

from varifold.models.style.shared_attention import aligned, shared

SHARES = [0.25, 0.75]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features(seed: int, length: int = 7, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """[2, 3, L, 4], of a mean and spread of their own in each channel."""
    own = random(2, 3, 1, 8, seed=100 + seed, dtype=dtype)
    return random(2, 3, length, 4, seed=seed, dtype=dtype) * own[..., :4].exp() + own[..., 4:]


def pair(seed: int, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    return features(seed, length), features(50 + seed, length)


def softmax_over(query: torch.Tensor, pairs: list, weights: list[float]) -> torch.Tensor:
    """Σ w exp(q·k/√D) v / Σ w exp(q·k/√D), written out."""
    scores = [weight * torch.exp(query @ key.mT / sqrt(4)) for (key, _), weight in zip(pairs, weights, strict=True)]
    values = sum(score @ value for score, (_, value) in zip(scores, pairs, strict=True))
    return values / sum(score.sum(-1, keepdim=True) for score in scores)


# AdaIN


def test_aligned_features_have_the_mean_and_spread_of_the_style():
    moved = aligned(features(0), [features(1, 11)], [1.0], 1.0)
    torch.testing.assert_close(moved.mean(-2), features(1, 11).mean(-2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved.std(-2, correction=0), features(1, 11).std(-2, correction=0), rtol=1e-3, atol=1e-4)


def test_of_several_styles_the_statistics_are_mixed_by_their_shares():
    styles = [features(1), features(2, 5)]
    moved = aligned(features(0), styles, SHARES, 1.0)
    for moment in (lambda each: each.mean(-2), lambda each: each.std(-2, correction=0)):
        mixed = sum(share * moment(style) for share, style in zip(SHARES, styles, strict=True))
        torch.testing.assert_close(moment(moved), mixed, rtol=1e-3, atol=1e-4)


def test_half_the_strength_is_halfway_and_none_changes_nothing():
    plain, full = features(0), aligned(features(0), [features(1)], [1.0], 1.0)
    torch.testing.assert_close(aligned(plain, [features(1)], [1.0], 0.5), (plain + full) / 2)
    assert torch.equal(aligned(plain, [features(1)], [1.0], 0.0), plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_features_of_the_same_statistics_are_left_bit_for_bit(dtype):
    plain = features(0, dtype=dtype)
    assert torch.equal(aligned(plain, [plain, plain], [0.5, 0.5], 1.0), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_channel_that_is_the_same_everywhere_gives_no_nan(dtype):
    one, flat = features(0, 1, dtype), torch.full((2, 3, 9, 4), 3.0, dtype=dtype)
    for own, style in (
        (one, features(1, dtype=dtype)),
        (flat, features(1, dtype=dtype)),
        (features(1, dtype=dtype), flat),
    ):
        moved = aligned(own, [style], [1.0], 1.0)
        assert moved.isfinite().all() and moved.dtype == dtype
        torch.testing.assert_close(moved.mean(-2), style.mean(-2), rtol=1e-2, atol=1e-2)


# Attention


@pytest.mark.parametrize("strength", [0.3, 0.9])
def test_it_is_one_softmax_over_all_keys_by_weight(strength):
    styles = [pair(1), pair(2, 5)]
    weights = [1 - strength, *(strength * share for share in SHARES)]
    seen = shared(features(9), pair(0), styles, SHARES, strength)
    torch.testing.assert_close(seen, softmax_over(features(9), [pair(0), *styles], weights))
    beside = shared(features(9), pair(0), styles, SHARES, strength, pair(3, 2))
    torch.testing.assert_close(beside, softmax_over(features(9), [pair(3, 2), pair(0), *styles], [1.0, *weights]))


def test_at_its_ends_it_is_the_picture_alone_and_the_style_alone():
    for strength, seen in ((0.0, pair(0)), (1.0, pair(1))):
        torch.testing.assert_close(
            shared(features(9), pair(0), [pair(1)], [1.0], strength), softmax_over(features(9), [seen], [1.0])
        )


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_a_style_that_is_the_picture_itself_changes_nothing(strength):
    plain = softmax_over(features(9), [pair(0)], [1.0])
    torch.testing.assert_close(shared(features(9), pair(0), [pair(0), pair(0)], SHARES, strength), plain)
