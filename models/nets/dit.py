"""The class-conditional transformer of DiT (Peebles & Xie 2023, arXiv:2212.09748) and SiT (Ma et al. 2024,
arXiv:2401.08740), which are one net: DiT says the noise of a diffusion, SiT the velocity of a flow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend, OwnAttention, in_turn
from .bounds import check_flags, check_numbers

LOWEST_FREQUENCY = 1e-4  # of positions and times, in radians per patch or timestep; the highest is 1
TIME_FREQUENCIES = 128
HIDDEN = 4  # the width inside a feed-forward net, in widths of a token
VECTORS = 6  # by which noise level and class steer a block: shift, scale and gate, twice; the end has shift and scale

LIMITS = {
    "in_channels": (1, 64),
    "patch": (1, 16),
    "width": (16, 8192),
    "depth": (1, 128),
    "heads": (1, 128),
    "classes": (1, 65536),
}


class Dialect(NamedTuple):
    """Where implementations differ: time frequency i is 10^(−4·i/span), the second norm of a block adds `epsilon`."""

    span: int
    epsilon: float


DIALECTS = {"original": Dialect(128, 1e-6), "diffusers": Dialect(127, 1e-5)}


@dataclass(frozen=True)
class DiTConfig:
    """The shape of a DiT: `depth` blocks of tokens `width` wide, each a square of `patch` by `patch`.

    `classes` counts the labels without the one that means no class. With `learn_sigma` the last layer also says a
    variance, which is passed over. `dialect` is a key of DIALECTS. A `mirrored` net is one of a flow whose time runs
    as in SiT's paper, from noise to picture: it is told 1 − c_noise, and says x0 − ε where others say ε − x0.
    Raises ValueError, naming the field, for a value that no net can have.
    """

    in_channels: int = 4
    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    classes: int = 1000
    learn_sigma: bool = True
    dialect: str = "original"
    mirrored: bool = False

    def __post_init__(self):
        check_numbers(self, LIMITS)
        check_flags(self, ("learn_sigma", "mirrored"))
        if self.dialect not in tuple(DIALECTS):
            raise ValueError(f"dialect should be one of {', '.join(DIALECTS)}, not {self.dialect!r:.80}")
        if self.width % 4:
            raise ValueError(f"width should be a multiple of 4, not {self.width}")
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} does not divide the width {self.width}")


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, epsilon: float = 1e-6) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=epsilon), scale)


def positions(rows: int, columns: int, like: Tensor) -> Tensor:
    """[rows·columns, width of `like`]: half of the width is sines and cosines of the column, half of the row."""
    count = like.shape[-1] // 4
    wide = {"dtype": torch.promote_types(like.dtype, torch.float32), "device": like.device}
    frequencies = torch.exp(torch.arange(count, **wide) * (math.log(LOWEST_FREQUENCY) / count))
    angles = torch.arange(max(rows, columns), **wide)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)
    column = waves[None, :columns].expand(rows, -1, -1)
    row = waves[:rows, None].expand(-1, columns, -1)
    return torch.cat([column, row], dim=-1).flatten(0, 1)


class Block(nn.Module):
    """Attention and a feed-forward net on tokens [N, T, C]: each of them normalised, modulated, gated and added."""

    def __init__(self, width: int, heads: int, epsilon: float):
        super().__init__()
        self.heads, self.epsilon = heads, epsilon
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.widen = nn.Linear(width, HIDDEN * width)
        self.narrow = nn.Linear(HIDDEN * width, width)

    def forward(self, x: Tensor, attend: Attend | None, shift1, scale1, gate1, shift2, scale2, gate2) -> Tensor:
        qkv = self.qkv(_modulated(x, shift1, scale1)).unflatten(-1, (3, self.heads, -1))
        seen = (attend or F.scaled_dot_product_attention)(*qkv.permute(2, 0, 3, 1, 4).unbind())
        x = torch.addcmul(x, gate1, self.out(seen.transpose(1, 2).flatten(2)))
        hidden = F.gelu(self.widen(_modulated(x, shift2, scale2, self.epsilon)), approximate="tanh")
        return torch.addcmul(x, gate2, self.narrow(hidden))


class DiT(nn.Module):
    """The net F of a denoiser: `net(x, net.embed(c_noise, cond))`. Computes in the dtype of its weights.

    cond["label"] [B], whole numbers, is the class of each sample; without it, below 0, or `classes`: no class. Or it is
    [B, width], a class as `label_embeddings` has it, or a mixture of such.
    """

    conditions = ("label",)
    paddable = ()

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.config = config
        self.multiple, self.attentions = config.patch, config.depth
        width, patch, dialect = config.width, config.patch, DIALECTS[config.dialect]

        self.time_in = nn.Linear(2 * TIME_FREQUENCIES, width)
        self.time_out = nn.Linear(width, width)
        # nn.Embedding's own initialisation is a normal_, which on the meta device costs two seconds of imports.
        bound = 0.02 * math.sqrt(3)
        self.labels = nn.Parameter(torch.empty(config.classes + 1, width).uniform_(-bound, bound))
        self.modulate = _zero(nn.Linear(width, (VECTORS * config.depth + 2) * width))

        self.patches = nn.Conv2d(config.in_channels, width, patch, stride=patch)
        self.blocks = nn.ModuleList(Block(width, config.heads, dialect.epsilon) for _ in range(config.depth))
        said = (1 + config.learn_sigma) * config.in_channels
        self.out = _zero(nn.Linear(width, patch**2 * said))

    @property
    def dtype(self) -> torch.dtype:
        return self.time_in.weight.dtype

    def embed(self, c_noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """All that the noise level and the class have to say, [N, E]: every block's shifts, scales and gates.

        c_noise [N]: the timestep 0 to 999, or σ of a flow; cond["label"] [N or 1], or [N or 1, width]. Raises
        ValueError for a label that there is not.
        """
        wide = torch.promote_types(self.dtype, torch.float32)
        time = c_noise.to(wide)
        if self.config.mirrored:
            time = 1 - time
        exponents = torch.arange(TIME_FREQUENCIES, dtype=wide, device=time.device)
        span = DIALECTS[self.config.dialect].span
        angles = time[:, None] * torch.exp(exponents * (math.log(LOWEST_FREQUENCY) / span))
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.dtype)
        emb = self.time_out(F.silu(self.time_in(waves))) + self._class(cond)
        vectors = self.modulate(F.silu(emb)).unflatten(1, (-1, self.config.width))
        vectors[:, 1::3] += 1  # the scales
        return vectors.flatten(1)

    def _class(self, cond: dict[str, Tensor] | None) -> Tensor:
        """[N or 1, width]"""
        if cond is None or "label" not in cond:
            return self.labels[-1:]
        label = cond["label"].to(self.labels.device)
        if label.is_floating_point() and label.ndim == 2 and label.shape[1] == self.config.width:
            return label.to(self.dtype)
        if label.is_floating_point() or label.ndim != 1:
            raise ValueError(f"labels are whole numbers, one for each sample, and not of shape {list(label.shape)}")
        none = self.config.classes
        if label.numel() and label.max() > none:
            raise ValueError(f"this denoiser knows the classes 0 to {none - 1}, and was asked for {label.max()}")
        return self.labels[label.long().where(label >= 0, none)]

    def label_embeddings(self, labels: Sequence[int]) -> Tensor:
        """Classes -> [1, W, width], in the net's dtype; below 0 or `classes` is the row of no class."""
        return self._class({"label": torch.tensor(labels, dtype=torch.long)})[None]

    def context(self, cond: dict[str, Tensor] | None = None) -> list[Tensor]:
        """Nothing: its class acts through `embed`."""
        return []

    def forward(
        self, x: Tensor, embedding: Tensor, context: Sequence[Tensor] = (), attention: OwnAttention | None = None
    ) -> Tensor:
        """x [N, in_channels, H, W], H and W multiples of `multiple`; embedding [N or 1, E] -> x's shape.

        Positions are counted in patches from the first corner, as in training, whatever the size.
        `attention`, where it is not None, computes self-attention, see `nets.attention`.
        """
        patch, width = self.config.patch, self.config.width
        *of_blocks, shift, scale = embedding.unflatten(1, (-1, 1, width)).unbind(1)
        x = self.patches(x.to(self.dtype).contiguous(memory_format=torch.channels_last))
        rows, columns = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        x = x + positions(rows, columns, x)
        for index, (block, attend) in enumerate(zip(self.blocks, in_turn(attention), strict=False)):
            x = block(x, attend, *of_blocks[VECTORS * index : VECTORS * (index + 1)])
        x = F.linear(_modulated(x, shift, scale), *self._last())
        return (
            x.unflatten(1, (rows, columns))
            .unflatten(3, (patch, patch, -1))
            .permute(0, 5, 1, 3, 2, 4)
            .flatten(4)
            .flatten(2, 3)
        )

    def _last(self) -> tuple[Tensor, Tensor]:
        """The last layer without what it says of the variance, so that nothing is computed in vain: a few rows."""
        channels = self.config.in_channels
        weight, bias = (
            part.unflatten(0, (self.config.patch**2, -1))[:, :channels].flatten(0, 1) for part in self.out.parameters()
        )
        return (-weight, -bias) if self.config.mirrored else (weight, bias)
