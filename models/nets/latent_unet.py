"""The U-Net of latent diffusion: Stable Diffusion 1, 2 and XL.

Convolutions and down-up structure are ADM's (Dhariwal & Nichol 2021, arXiv:2105.05233); the transformers between them,
which look at a text, are those of Rombach et al. 2022 (arXiv:2112.10752); several of them in a row, and a vector beside
the text, those of Podell et al. 2023 (SDXL, arXiv:2307.01952).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend, OwnAttention, in_turn
from .bounds import check_number, check_numbers, make_tuples
from .convolution import Conv3x3
from .text_transformer import CrossAttention, SelfAttention, TextTransformer

GROUPS = 32
LOWEST_FREQUENCY = 1e-4  # of the time embedding, in radians per timestep; the highest is 1

LIMITS = {
    "in_channels": (1, 64),
    "image_channels": (0, 64),
    "width": (32, 1024),
    "blocks": (1, 4),
    "middle_depth": (0, 32),
    "context": (1, 16384),
    "vector": (0, 16384),
    "heads": (0, 64),
    "head_width": (0, 1024),
}


@dataclass(frozen=True)
class LatentUNetConfig:
    """The shape of a LatentUNet. Level i works on latents shrunk by 2^i, with width * multipliers[i] channels.

    Each block of level i ends with depths[i] transformer layers; `middle_depth` is that of the middle. Their heads are
    `heads` many, or `head_width` wide: one of the two is 0. `context` is the width of the text's tokens, `vector` that
    of the vector beside it (0: none), `image_channels` counts what is concatenated to the state (inpainting: a mask
    and the masked latent, 5). Raises ValueError, naming the field, for a value that no net can have.
    """

    in_channels: int = 4
    image_channels: int = 0
    width: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    depths: tuple[int, ...] = (1, 1, 1, 0)
    middle_depth: int = 1
    context: int = 768
    vector: int = 0
    heads: int = 8
    head_width: int = 0

    def __post_init__(self):
        make_tuples(self, ("multipliers", "depths"))
        check_numbers(self, LIMITS)
        if not 1 <= len(self.multipliers) <= 6:
            raise ValueError(f"multipliers should name 1 to 6 levels, not {len(self.multipliers)}")
        if len(self.depths) != len(self.multipliers):
            raise ValueError(f"depths should name {len(self.multipliers)} levels, as multipliers does")
        for multiplier in self.multipliers:
            check_number("every one of multipliers", multiplier, 1, 16)
        for depth in self.depths:
            check_number("every one of depths", depth, 0, 32)
        if self.width % GROUPS:
            raise ValueError(f"width should be a multiple of {GROUPS}, not {self.width}")
        if (self.heads == 0) == (self.head_width == 0):
            raise ValueError("one of heads and head_width should be 0, the other tells how attention is split")
        name = "heads" if self.heads else "head_width"
        for multiplier, depth in zip(
            (*self.multipliers, self.multipliers[-1]), (*self.depths, self.middle_depth), strict=True
        ):
            if depth and self.width * multiplier % getattr(self, name):
                raise ValueError(f"{name} {getattr(self, name)} does not divide the {self.width * multiplier} channels")


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """Two convolutions beside a skip, the second shifted by the embedding; then perhaps a transformer."""

    def __init__(self, c_in: int, c_out: int, transformer: TextTransformer | None = None):
        super().__init__()
        self.c_out = c_out
        self.norm1 = nn.GroupNorm(GROUPS, c_in)
        self.conv1 = Conv3x3(c_in, c_out)
        self.norm2 = nn.GroupNorm(GROUPS, c_out)
        self.conv2 = _zero(Conv3x3(c_out, c_out))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.transformer = transformer

    def forward(
        self, x: Tensor, shift: Tensor, keys_values: Iterator[Tensor], attends: Iterator[Attend | None]
    ) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x), inplace=True)).add_(shift[:, :, None, None])
        x = self.skip(x) + self.conv2(F.silu(self.norm2(h), inplace=True))
        return x if self.transformer is None else self.transformer(x, keys_values, attends)


class Up(nn.Module):
    """Twice the height and width, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class LatentUNet(nn.Module):
    """The net F of a denoiser: `net(x, net.embed(c_noise, cond), net.context(cond))`.

    Computes in the dtype of its weights. cond holds `tokens` [B, T, context], the text; `vector` [B, vector] if the net
    takes one; and `image` [B, image_channels, H, W] likewise.
    """

    paddable = ()

    def __init__(self, config: LatentUNetConfig):
        super().__init__()
        self.config = config
        self.multiple = 2 ** (len(config.multipliers) - 1)
        optional = {"vector": config.vector, "image": config.image_channels}
        self.conditions = ("tokens", *(name for name, size in optional.items() if size))
        width, emb = config.width, 4 * config.width

        self.time_in = nn.Linear(width, emb)
        self.time_out = nn.Linear(emb, emb)
        if config.vector:
            self.vector_in = nn.Linear(config.vector, emb)
            self.vector_out = nn.Linear(emb, emb)

        def block(c_in: int, c_out: int, depth: int) -> Block:
            heads = config.heads or c_out // config.head_width
            return Block(c_in, c_out, TextTransformer(c_out, heads, depth, config.context) if depth else None)

        levels = list(zip([width * multiplier for multiplier in config.multipliers], config.depths, strict=True))
        self.stem = nn.Conv2d(config.in_channels + config.image_channels, width, 3, padding=1)
        channels, skips = width, [width]
        self.down = nn.ModuleList()
        for level, (c_out, depth) in enumerate(levels):
            if level > 0:
                self.down.append(Conv3x3(channels, channels, stride=2))
                skips.append(channels)
            for _ in range(config.blocks):
                self.down.append(block(channels, c_out, depth))
                channels = c_out
                skips.append(channels)

        self.middle = nn.ModuleList([block(channels, channels, config.middle_depth), block(channels, channels, 0)])

        self.up = nn.ModuleList()
        for level, (c_out, depth) in reversed(list(enumerate(levels))):
            for _ in range(config.blocks + 1):
                self.up.append(block(channels + skips.pop(), c_out, depth))
                channels = c_out
            if level > 0:
                self.up.append(Up(channels))

        self.norm_out = nn.GroupNorm(GROUPS, channels)
        self.out = _zero(nn.Conv2d(channels, config.in_channels, 3, padding=1))

        self.attentions = sum(isinstance(module, SelfAttention) for module in self.modules())
        self.shifts = [module.c_out for module in self.modules() if isinstance(module, Block)]
        self.shift = nn.Linear(emb, sum(self.shifts))

    @property
    def dtype(self) -> torch.dtype:
        return self.stem.weight.dtype

    def _given(self, cond: dict[str, Tensor] | None, name: str, size: int, remedy: str) -> Tensor:
        if cond is None or name not in cond:
            raise ValueError(f"this denoiser needs {remedy}")
        if cond[name].shape[1 if name == "image" else -1] != size:
            raise ValueError(
                f"this denoiser needs {remedy}: its {name} should be {size} wide, and {list(cond[name].shape)} came"
            )
        return cond[name].to(self.dtype)

    def embed(self, c_noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """What each block adds for the noise level and the vector: [N, sum of their channels].

        c_noise [N], the timestep, 0 to 999; cond["vector"] [N or 1, vector]. Raises ValueError without a needed vector.
        """
        half = self.config.width // 2
        frequencies = torch.exp(torch.arange(half, device=c_noise.device) * math.log(LOWEST_FREQUENCY) / half)
        angles = c_noise.float()[:, None] * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.dtype)
        emb = self.time_out(F.silu(self.time_in(waves)))
        if self.config.vector:
            vector = self._given(
                cond, "vector", self.config.vector, "a prompt with a pooled vector, as SDXL's encoders give"
            )
            emb = emb + self.vector_out(F.silu(self.vector_in(vector)))
        return self.shift(F.silu(emb))

    def context(self, cond: dict[str, Tensor] | None = None) -> list[Tensor]:
        """For each cross-attention in turn its keys and values of the text [N, T, 2·C]; then the image, if any.

        Raises ValueError for a condition that is missing or of another width.
        """
        tokens = self._given(cond, "tokens", self.config.context, "a prompt from a text encoder of its own family")
        given = [module.kv(tokens) for module in self.modules() if isinstance(module, CrossAttention)]
        if self.config.image_channels:
            given.append(self._given(cond, "image", self.config.image_channels, "a mask and a masked picture"))
        return given

    def forward(
        self, x: Tensor, embedding: Tensor, context: Sequence[Tensor], attention: OwnAttention | None = None
    ) -> Tensor:
        """x [N, in_channels, H, W], H and W multiples of `multiple`; embedding [N or 1, E] -> x's shape.

        `attention`, where it is not None, computes self-attention, see `nets.attention`.
        """
        shifts, keys_values = iter(embedding.split(self.shifts, dim=1)), iter(context)
        attends = in_turn(attention)
        x = x.to(self.dtype)
        if self.config.image_channels:
            x = torch.cat([x, context[-1]], dim=1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for layer in self.down:
            x = layer(x, next(shifts), keys_values, attends) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for block in self.middle:
            x = block(x, next(shifts), keys_values, attends)
        for layer in self.up:
            if isinstance(layer, Block):
                x = layer(torch.cat([x, skips.pop()], dim=1), next(shifts), keys_values, attends)
            else:
                x = layer(x)
        return self.out(F.silu(self.norm_out(x), inplace=True))
