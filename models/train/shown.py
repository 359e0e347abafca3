"""What a generator that is being trained is shown by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..generating.generator import Generator
from ..sampling.noise import Noise

SHOWN = 16


def show(generator: Generator, prompts: Sequence[str] = ()) -> Tensor:
    """Pictures [16, H, W, 3 or 4] in 0..1 that a generator draws, always from the same noise.

    `prompts` take turns; without any, a generator that knows words gets random ones.
    """
    if not prompts and generator.vocabulary is not None:
        prompts = generator.vocabulary.random_prompts(SHOWN, 0)
    noise = Noise(0, range(SHOWN), generator.noise_shape)(0)
    conds = [generator.prompt(prompts[index % len(prompts)]) if prompts else None for index in range(SHOWN)]
    x = torch.cat([generator.draw(noise[[index]], cond) for index, cond in enumerate(conds)])
    rgb, alpha = generator.pictures(x.cpu())
    return torch.cat([rgb, alpha[..., None]], -1) if generator.channels == "rgba" else rgb
