"""Learning a denoiser of pictures: from scratch in a size of net, or from another denoiser's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint.load import precondition, save_denoiser
from ..checkpoint.spec import Spec
from ..denoising.denoiser import Denoiser
from ..denoising.vocabulary import Vocabulary
from ..nets.unet import Block, UNet, UNetConfig
from ..sampling import schedule
from ..sampling.sample import sample
from .denoising import Denoising

SIZES = {"tiny": 32, "small": 48, "medium": 64, "large": 96, "huge": 128}
"""The width of a net by the name of its size."""
MULTIPLIERS = (1, 2, 3, 4)
PATCHED, SMALLEST_GRID, ATTENDED = (
    16,
    4,
    8,
)  # pixels a side: of the lowest level, and at most where pixels look at one another
RANGES = {"edm": (0.002, 80.0), "eps": (0.01, 15.0), "v": (0.002, 80.0), "flow": (0.001, 1.0)}
"""σ_min and σ_max of each prediction; what errs by e in ε errs by σ·e in the picture."""


def net_config(size: str, shape: Sequence[int], words: int) -> UNetConfig:
    """The net of a size, a key of SIZES, for pictures [C, H, W] and a vocabulary of so many words.

    Raises ValueError for a size or sides that it cannot be made for.
    """
    if size not in SIZES:
        raise ValueError(f"there is no size {size!r:.40}: choose {', '.join(SIZES)}")
    channels, *sides = shape
    patch = 2 if min(sides) >= PATCHED and not any(side % 2 for side in sides) else 1
    levels = 1
    while levels < len(MULTIPLIERS) and all(
        side % (patch * 2**levels) == 0 and side // (patch * 2**levels) >= SMALLEST_GRID for side in sides
    ):
        levels += 1
    grids = [max(sides) // (patch * 2**level) for level in range(levels)]
    return UNetConfig(
        in_channels=channels,
        patch=patch,
        width=SIZES[size],
        multipliers=MULTIPLIERS[:levels],
        attention_levels=tuple(level for level, grid in enumerate(grids) if 1 < grid <= ATTENDED and level),
        embedding=4 * SIZES[size],
        vocabulary=max(1, words),
    )


class DenoiserLearner:
    """A denoiser of pictures like `spec.shape`, see `learner.Learner`; `net` is what it begins with."""

    judged = True
    shown = shown_steps = 16

    def __init__(
        self,
        net: UNet,
        spec: Spec,
        *,
        weighting: str = "none",
        frozen: float = 0.0,
        pictures: str = "",
        begun: str = "",
        compiled: bool = False,
    ):
        self.kept, self.spec = net, spec
        freeze(net, frozen)
        self.players = {"loss": Denoising(net, precondition(spec), weighting=weighting, compiled=compiled)}
        config = {"config": asdict(net.config), "prediction": spec.prediction, "sigma_data": spec.sigma_data}
        self.asked = {
            "family": "denoiser",
            **config,
            "shape": list(spec.shape),
            "words": list(spec.vocabulary),
            "weighting": weighting,
            "frozen": frozen,
            "pictures": pictures,
            "begun": begun,
        }

    def denoiser(self, net: nn.Module) -> Denoiser:
        """The denoiser of such a net."""
        spec = self.spec
        return Denoiser(
            net,
            precondition(spec),
            shape=spec.shape,
            sigma_min=spec.sigma_min,
            sigma_max=spec.sigma_max,
            vocabulary=Vocabulary(spec.vocabulary) if spec.vocabulary else None,
            spec=spec,
        )

    def pictures(self, net: nn.Module) -> Tensor:
        denoiser = self.denoiser(net)
        sigmas = usual_schedule(denoiser, self.shown_steps)
        known = denoiser.vocabulary
        cond = known and {
            "words": _stacked([denoiser.prompt(text)["words"] for text in known.random_prompts(self.shown, 0)])
        }
        rgb, alpha = denoiser.pictures(sample(denoiser, sigmas, solver="dpmpp_2m", cond=cond, batch=self.shown))
        return torch.cat([rgb, alpha[..., None]], -1) if self.spec.channels == "rgba" else rgb

    def save(self, path: Path, net: nn.Module) -> None:
        save_denoiser(path, net, self.spec, torch.float32)


def usual_schedule(denoiser: Denoiser, steps: int) -> list[float]:
    """A schedule that suits any denoiser trained here."""
    if denoiser.space.name == "flow":
        return schedule.linear(steps, 0.0, 1.0)
    return schedule.karras(steps, denoiser.sigma_min, denoiser.sigma_max)


def new_spec(
    prediction: str, shape: Sequence[int], channels: str, spread: float, words: Sequence[str] = (), **about: str
) -> Spec:
    """The Spec of a denoiser that is to be trained; `spread` is the deviation of its x0, `about` its title and so on.

    Raises ValueError.
    """
    if prediction not in RANGES:
        raise ValueError(f"a denoiser is trained to predict {', '.join(RANGES)}; not {prediction!r:.40}")
    sigma_min, sigma_max = RANGES[prediction]
    return Spec(
        architecture="unet",
        config={},
        prediction=prediction,
        shape=tuple(shape),
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        space="flow" if prediction == "flow" else "ve",
        sigma_data=round(spread, 4),
        channels=channels,
        vocabulary=tuple(words),
        **about,
    )


def from_scratch(spec: Spec, size: str, seed: int = 0) -> tuple[UNet, Spec]:
    """A net with weights by chance, alike for the same seed, and its Spec. Raises ValueError."""
    config = net_config(size, spec.shape, len(spec.vocabulary))
    return _by_chance(config, seed), replace(spec, config=asdict(config))


def from_denoiser(denoiser: Denoiser, spec: Spec, seed: int = 0) -> tuple[UNet, Spec]:
    """A net that begins with a denoiser's weights, for the pictures and words of `spec`, and its Spec.

    Words that both know keep their meaning, new ones begin near none. What the net's output means stays the denoiser's.
    Raises ValueError unless it is a U-Net of ours for pictures of the same channels.
    """
    before, old = denoiser.spec, denoiser.net
    if not isinstance(old, UNet) or before is None:
        raise ValueError("only denoisers trained here can be trained further: Load Denoiser gives them")
    if before.channels != spec.channels:
        raise ValueError(f"the denoiser draws {before.channels} and the pictures are {spec.channels}: they must agree")
    config = replace(old.config, vocabulary=max(1, len(spec.vocabulary)))
    for side in spec.shape[1:]:
        if side % old.multiple:
            raise ValueError(f"the pictures' sides should be multiples of {old.multiple} for this denoiser, not {side}")
    net = _by_chance(config, seed)
    weights = {key: value.float() for key, value in old.state_dict().items() if key != "words.weight"}
    net.load_state_dict(weights, strict=False)
    rows = {word: row for row, word in enumerate(before.vocabulary) if row}
    with torch.no_grad():
        net.words.weight[1:] *= 0.1
        for row, word in enumerate(spec.vocabulary):
            if word in rows:
                net.words.weight[row] = old.words.weight[rows[word]].float()
    same = {"prediction": before.prediction, "sigma_min": before.sigma_min, "sigma_max": before.sigma_max}
    return net, replace(spec, config=asdict(config), space=before.space, sigma_data=before.sigma_data, **same)


def _stacked(words: Sequence[Tensor]) -> Tensor:
    """Prompts [1, W, D] as one batch, rows of zeros where one has fewer words."""
    return nn.utils.rnn.pad_sequence([prompt[0] for prompt in words], batch_first=True)


def _by_chance(config: UNetConfig, seed: int) -> UNet:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return UNet(config)


def freeze(net: UNet, share: float) -> None:
    """Keeps the first `share`, 0..1, of a net's blocks as they are. Words, and what comes out, always learn."""
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    for block in blocks[: math.floor(share * len(blocks))]:
        block.requires_grad_(False)
    if share > 0:
        net.stem.requires_grad_(False)
