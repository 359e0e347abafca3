"""The transformer of Flux: tokens of a text and of a picture in two streams that see each other, then in one.

Double-stream blocks after Esser et al. 2024 (arXiv:2403.03206), with normalised queries and keys; single-stream blocks
with attention and feed-forward side by side after Dehghani et al. 2023 (arXiv:2302.05442); rotary positions after Su et
al. 2021 (arXiv:2104.09864), over three axes as in Black Forest Labs' description of their model.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attend, OwnAttention, in_turn
from .bounds import check_flags, check_numbers

WAVES = 256
LONGEST_WAVE = 10000.0
THETA = 10000.0
EPS = 1e-6
USUAL_GUIDANCE = 3.5

LIMITS = {
    "in_channels": (1, 256),
    "patch": (1, 16),
    "width": (2, 65536),
    "heads": (1, 1024),
    "double_blocks": (1, 256),
    "single_blocks": (0, 256),
    "hidden": (1, 262144),
    "tokens": (1, 65536),
    "vector": (1, 65536),
}


@dataclass(frozen=True)
class FluxConfig:
    """The shape of a Flux. Every token has `width` numbers, for `heads` heads.

    A token of a picture is a square of `patch` × `patch`; `tokens` and `vector` are the widths of the text's tokens and
    of its pooled vector; `hidden` is the width inside a feed-forward. `axes` deals the numbers of a head out to the
    three coordinates (0, row, column) that rotate them. `guidance`: whether it is told a guidance scale. Raises
    ValueError, naming the field, for a value that no net can have.
    """

    in_channels: int = 16
    patch: int = 2
    width: int = 3072
    heads: int = 24
    axes: tuple[int, int, int] = (16, 56, 56)
    double_blocks: int = 19
    single_blocks: int = 38
    hidden: int = 12288
    tokens: int = 4096
    vector: int = 768
    guidance: bool = True

    def __post_init__(self):
        check_numbers(self, LIMITS)
        check_flags(self, ("guidance",))
        if self.width % self.heads:
            raise ValueError(f"heads should divide width {self.width}, and {self.heads} does not")
        if not isinstance(self.axes, (list, tuple)):
            raise ValueError(f"axes should be a list of three even numbers, not {self.axes!r:.80}")
        object.__setattr__(self, "axes", tuple(self.axes))
        even = all(type(axis) is int and axis >= 0 and axis % 2 == 0 for axis in self.axes)
        if len(self.axes) != 3 or not even or sum(self.axes) != self.width // self.heads:
            raise ValueError(
                f"axes should be three even numbers whose sum is a head's width {self.width // self.heads}, "
                f"not {self.axes!r:.80}"
            )


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), scale)


def _added(x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
    x = torch.addcmul(x, gate, change)
    # The text of a large Flux leaves the range of float16.
    return x.clamp(-65504, 65504) if x.dtype == torch.float16 else x


def _rotated(x: Tensor, rotations: Tensor) -> Tensor:
    """x [N,L,heads,D] by rotations [L,1,D/2]: neighbours are one complex number, which is far faster on a CPU."""
    pairs = torch.view_as_complex(x.to(rotations.real.dtype).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)


def _attention(query: Tensor, key: Tensor, value: Tensor, text: int, attend: Attend | None) -> Tensor:
    """Each [N,L,heads,D], the first `text` tokens a text's -> [N,L,heads·D].

    `attend`, where it is not None, computes what the picture's tokens see of the picture's, with the text's beside.
    """
    query, key, value = (t.transpose(1, 2) for t in (query, key, value))
    if attend is None:
        seen = F.scaled_dot_product_attention(query, key, value)
    else:
        of_text, of_picture = zip(*(t.tensor_split([text], 2) for t in (query, key, value)), strict=True)
        read = F.scaled_dot_product_attention(of_text[0], key, value)
        seen = torch.cat([read, attend(*of_picture, beside=[of_text[1:]])], 2)
    return seen.transpose(1, 2).flatten(2)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


class MLP(nn.Module):
    """[..., c_in] -> [..., c_out], through one hidden layer."""

    def __init__(self, c_in: int, hidden: int, c_out: int, activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.up = nn.Linear(c_in, hidden)
        self.down = nn.Linear(hidden, c_out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class Stream(nn.Module):
    """One of the two streams of a DoubleBlock: what it asks for, and what it makes of the answer."""

    def __init__(self, config: FluxConfig):
        super().__init__()
        width, self.heads = config.width, config.heads
        self.modulate = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.query_norm = nn.RMSNorm(width // self.heads, eps=EPS)
        self.key_norm = nn.RMSNorm(width // self.heads, eps=EPS)
        self.out = nn.Linear(width, width)
        self.mlp = MLP(width, config.hidden, width, _gelu)

    def asked(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [N,L,heads,D] of x [N,L,width]."""
        query, key, value = self.qkv(_modulated(x, shift, scale)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return self.query_norm(query), self.key_norm(key), value

    def answered(self, x: Tensor, seen: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, gate_mlp: Tensor) -> Tensor:
        """x [N,L,width], with what it has seen [N,L,width] and then its feed-forward added."""
        x = _added(x, gate, self.out(seen))
        return _added(x, gate_mlp, self.mlp(_modulated(x, shift, scale)))


class DoubleBlock(nn.Module):
    """Text and picture with weights of their own, in one attention."""

    def __init__(self, config: FluxConfig):
        super().__init__()
        self.image = Stream(config)
        self.text = Stream(config)

    def forward(
        self, image: Tensor, text: Tensor, rows: Tensor, rotations: Tensor, attend: Attend | None
    ) -> tuple[Tensor, Tensor]:
        """image [N,L,width], text [N,T,width], rows [N,12,1,width], rotations [T+L,1,D/2] -> image, text."""
        of_image, of_text = rows[:, :6].unbind(1), rows[:, 6:].unbind(1)
        length = text.shape[1]
        query, key, value = self.image.asked(image, *of_image[:2])
        # A text is at (0, 0, 0), where nothing turns.
        query, key = _rotated(query, rotations[length:]), _rotated(key, rotations[length:])
        of_both = zip(self.text.asked(text, *of_text[:2]), (query, key, value), strict=True)
        seen = _attention(*(torch.cat(pair, 1) for pair in of_both), length, attend)
        image = self.image.answered(image, seen[:, length:], *of_image[2:])
        return image, self.text.answered(text, seen[:, :length], *of_text[2:])


class SingleBlock(nn.Module):
    """Text and picture as one sequence: attention and feed-forward side by side, in two matrix products."""

    def __init__(self, config: FluxConfig):
        super().__init__()
        width, self.heads = config.width, config.heads
        self.modulate = nn.Linear(width, 3 * width)
        self.qkv_up = nn.Linear(width, 3 * width + config.hidden)
        self.query_norm = nn.RMSNorm(width // self.heads, eps=EPS)
        self.key_norm = nn.RMSNorm(width // self.heads, eps=EPS)
        self.out_down = nn.Linear(width + config.hidden, width)

    def forward(self, x: Tensor, rows: Tensor, rotations: Tensor, text: int, attend: Attend | None) -> Tensor:
        """x [N,L,width], the first `text` a text's; rows [N,3,1,width], rotations [L,1,D/2] -> [N,L,width]."""
        shift, scale, gate = rows.unbind(1)
        qkv, hidden = self.qkv_up(_modulated(x, shift, scale)).tensor_split([3 * x.shape[-1]], -1)
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).unbind(2)
        query, key = _rotated(self.query_norm(query), rotations), _rotated(self.key_norm(key), rotations)
        seen = _attention(query, key, value, text, attend)
        return _added(x, gate, self.out_down(torch.cat([seen, _gelu(hidden)], -1)))


class Flux(nn.Module):
    """The net F of a denoiser: `net(x, net.embed(c_noise, cond), net.context(cond))`. Computes in its weights' dtype.

    cond: `tokens` [B,T,tokens] and `vector` [B,vector] of a text; `guidance` [B], 3.5 where none is given.
    """

    paddable = ()

    def __init__(self, config: FluxConfig):
        super().__init__()
        self.config = config
        self.multiple = config.patch
        self.attentions = config.double_blocks + config.single_blocks
        self.conditions = ("tokens", "vector", "guidance") if config.guidance else ("tokens", "vector")
        width, values = config.width, config.in_channels * config.patch**2

        self.time_in = MLP(WAVES, width, width, F.silu)
        self.vector_in = MLP(config.vector, width, width, F.silu)
        self.guidance_in = MLP(WAVES, width, width, F.silu) if config.guidance else None
        self.text_in = nn.Linear(config.tokens, width)
        self.image_in = nn.Linear(values, width)
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.double_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.single_blocks))
        self.modulate = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, values)

    @property
    def dtype(self) -> torch.dtype:
        return self.image_in.weight.dtype

    def embed(self, c_noise: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """The shifts, scales and gates of all blocks: [N, width · (12 double + 3 single + 2)].

        They depend on c_noise [N], which is sigma, and on the vector and the guidance of the condition alone; their
        weights are a quarter of the net, and a run needs them once. N and B broadcast.
        """
        summary = self.time_in(self._waves(c_noise)) + self.vector_in(self._given(cond, "vector", 2))
        if self.guidance_in is not None:
            guidance = cond.get("guidance", c_noise.new_full((1,), USUAL_GUIDANCE))
            summary = summary + self.guidance_in(self._waves(guidance.to(c_noise.device)))
        summary = F.silu(summary)
        rows = torch.cat([modulate(summary) for modulate in self._modulations()], 1)
        # Everywhere shift, scale and gate follow each other, and a scale is the difference from 1.
        rows.unflatten(1, (-1, self.config.width))[:, 1::3] += 1
        return rows

    def context(self, cond: dict[str, Tensor] | None = None) -> list[Tensor]:
        """The text's tokens as the blocks take them: [N,T,width]."""
        return [self.text_in(self._given(cond, "tokens", 3))]

    def forward(
        self, x: Tensor, embedding: Tensor, context: Sequence[Tensor], attention: OwnAttention | None = None
    ) -> Tensor:
        """x [N,in_channels,H,W], H and W multiples of `multiple`; embedding [N or 1, ...]; context as made -> as x.

        `attention`, where it is not None, computes what the picture sees of itself, see `nets.attention`.
        """
        (text,), patch = context, self.config.patch
        height, width = x.shape[2] // patch, x.shape[3] // patch
        rows = embedding.unflatten(1, (-1, 1, self.config.width))
        of_double, of_single, (shift, scale) = self._dealt(rows)

        image = self.image_in(F.pixel_unshuffle(x.to(self.dtype), patch).flatten(2).transpose(1, 2))
        text = text.expand(len(image), -1, -1)
        rotations = self._rotations(text.shape[1], height, width)
        attends = in_turn(attention)
        for block, rows in zip(self.double_blocks, of_double, strict=True):
            image, text = block(image, text, rows, rotations, next(attends))
        both = torch.cat([text, image], 1)
        for block, rows in zip(self.single_blocks, of_single, strict=True):
            both = block(both, rows, rotations, text.shape[1], next(attends))
        image = self.out(_modulated(both[:, text.shape[1] :], shift, scale))
        return F.pixel_shuffle(image.transpose(1, 2).unflatten(2, (height, width)), patch)

    def _modulations(self) -> Iterator[nn.Linear]:
        for block in self.double_blocks:
            yield block.image.modulate
            yield block.text.modulate
        for block in self.single_blocks:
            yield block.modulate
        yield self.modulate

    def _dealt(self, rows: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """rows [N,R,1,width] as `embed` puts them, to each block its own."""
        double, single, last = rows.split([12 * len(self.double_blocks), 3 * len(self.single_blocks), 2], 1)
        return double.split(12, 1), single.split(3, 1) if self.single_blocks else (), last.unbind(1)

    def _given(self, cond: dict[str, Tensor] | None, name: str, dims: int) -> Tensor:
        tensor, width = (cond or {}).get(name), getattr(self.config, name)
        if tensor is None or tensor.ndim != dims or tensor.shape[-1] != width:
            has = "none" if tensor is None else f"shape {list(tensor.shape)}"
            raise ValueError(
                f"Flux needs a text: `{name}` of {width} numbers, and it has {has}. Wire CLIP Text Encode with "
                "Flux's two text encoders (DualCLIPLoader) into positive, and into negative where guidance is used"
            )
        return tensor.to(self.image_in.weight)

    def _waves(self, level: Tensor) -> Tensor:
        """cos and sin of 1000 · level [N], at WAVES / 2 frequencies from 1 down to nearly 1 / LONGEST_WAVE."""
        precise = _angle_dtype(level.device)
        index = torch.arange(WAVES // 2, dtype=precise, device=level.device)
        angles = 1000 * level.to(precise)[:, None] * torch.exp(index * (-2 * math.log(LONGEST_WAVE) / WAVES))
        return torch.cat([angles.cos(), angles.sin()], 1).to(self.dtype)

    def _rotations(self, text: int, height: int, width: int) -> Tensor:
        """exp(i · position · frequency) of `text` tokens at (0, 0, 0), then a picture's: complex [tokens,1,D/2]."""
        device = self.image_in.weight.device
        precise = _angle_dtype(device)
        real = torch.promote_types(self.dtype, torch.float32)

        def turns(count: int, axis: int) -> Tensor:
            frequencies = THETA ** -(torch.arange(0, axis, 2, dtype=precise, device=device) / max(axis, 1))
            angles = torch.arange(count, dtype=precise, device=device)[:, None] * frequencies
            return torch.complex(angles.cos().to(real), angles.sin().to(real))

        none, rows, columns = (turns(n, axis) for n, axis in zip((1, height, width), self.config.axes, strict=True))
        grid = [none[None], rows[:, None], columns[None]]
        picture = torch.cat([part.expand(height, width, -1) for part in grid], -1).flatten(0, 1)
        return torch.cat([picture[:1].expand(text, -1), picture])[:, None]


def _angle_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
