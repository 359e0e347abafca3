"""Convolutional nets on pictures too big for memory: a feature map as strips of rows, each freed when it is used up.

A layer makes one strip at a time from the strip's rows and those next to them that its kernel reaches, so that nothing
is computed twice; group norms take their statistics from all strips first. The result is the whole net's, to rounding.
All maps are of one picture, [1, C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 3
Activation = Callable[[Tensor, Tensor], None]  # (rows, into): writes what it makes of rows


class Strips:
    """A feature map as strips from top to bottom; those that were freed are None."""

    def __init__(self, strips: Iterable[Tensor] = ()):
        self.strips: list[Tensor | None] = []
        self.spans: list[tuple[int, int]] = []
        self.height = 0
        for strip in strips:
            self.append(strip)

    def append(self, strip: Tensor) -> None:
        """Adds a strip below."""
        top, self.height = self.height, self.height + strip.shape[2]
        self.spans.append((top, self.height))
        self.strips.append(strip)

    def window(self, top: int, bottom: int, activate: Activation | None = None) -> Tensor:
        """A copy of some rows, or what `activate` makes of them; rows outside of the picture are zeros after that."""
        like = next(strip for strip in self.strips if strip is not None)
        shape = (1, like.shape[1], bottom - top, like.shape[3])
        window = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
        window[:, :, : max(-top, 0)] = 0
        window[:, :, self.height - top :] = 0
        for strip, (start, end) in zip(self.strips, self.spans, strict=True):
            first, last = max(start, top), min(end, bottom)
            if first < last:
                rows, into = strip[:, :, first - start : last - start], window[:, :, first - top : last - top]
                activate(rows, into) if activate else into.copy_(rows)
        return window

    def forget(self, row: int) -> None:
        """Frees the strips that end above a row."""
        for index, (_, end) in enumerate(self.spans):
            if end <= row:
                self.strips[index] = None

    def normed(self, norm: nn.GroupNorm) -> Activation:
        """What `norm` and then SiLU make of rows of this map."""
        count, mean, spread = 0, 0.0, 0.0
        for strip in self.strips:
            # Chan's rule for joining means and squared deviations: sums of squares would lose digits to large means.
            values = strip if strip.dtype == torch.float64 else strip.float()
            its_mean = values.mean((0, 2, 3), keepdim=True)
            its_spread = (values - its_mean).square_().sum((0, 2, 3))
            pixels, apart = strip[0, 0].numel(), its_mean.flatten() - mean
            spread = spread + its_spread + apart.square() * (count * pixels / (count + pixels))
            mean = mean + apart * (pixels / (count + pixels))
            count += pixels
        # The same rule for the channels of a group, each of as many pixels.
        mean, spread = mean.view(norm.num_groups, -1), spread.view(norm.num_groups, -1)
        middle = mean.mean(1, keepdim=True)
        variance = (spread / count + (mean - middle).square()).mean(1, keepdim=True)
        scale = norm.weight.view_as(mean) / (variance + norm.eps).sqrt()
        shift = (norm.bias.view_as(mean) - middle * scale).view(1, -1, 1, 1)
        scale = scale.view(1, -1, 1, 1)

        def activate(rows: Tensor, into: Tensor) -> None:
            if rows.dtype == scale.dtype:
                F.silu(torch.addcmul(shift, rows, scale, out=into), inplace=True)
            else:
                into.copy_(F.silu(torch.addcmul(shift, rows.to(scale), scale)))

        return activate


def spans(height: int, rows: int) -> list[tuple[int, int]]:
    """`height` cut into strips of `rows`, the last one perhaps lower."""
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def convolved(
    layer: nn.Conv2d,
    x: Strips,
    into: list[tuple[int, int]],
    activate: Activation | None = None,
    keep: bool = True,
) -> Iterator[Tensor]:
    """The strips `into` of a 3×3 convolution of a map, of stride 1 or 2; `activate` changes its input.

    A layer without padding takes zeros below and on the right, as far as it needs. With keep=False strips of x that
    are used up are freed.
    """
    stride, before = layer.stride[0], layer.padding[0]
    for top, bottom in into:
        first, last = stride * top - before, stride * (bottom - 1) - before + KERNEL
        if not keep:
            x.forget(first)
        window = x.window(first, last, activate)
        if not before:
            window = F.pad(window, (0, KERNEL - 2))
        yield F.conv2d(window, layer.weight, layer.bias, stride, (0, before))


def grown(layer: Grow, x: Strips, into: list[tuple[int, int]]) -> Iterator[Tensor]:
    """Twice the size: strips of which `into` are the halves, that is, the rows of x. Frees x."""
    kernel = layer.kernel()
    for top, bottom in into:
        x.forget(top - 1)
        # Of the two rows beyond the strip only what they add within it: three rows are cut off at both ends.
        yield F.conv_transpose2d(x.window(top - 1, bottom + 1), kernel, layer.bias, stride=2, padding=(KERNEL, 1))


class Grow(nn.Module):
    """A 3×3 convolution of the map in twice the size, by nearest neighbours: [N, C, H, W] -> [N, C, 2H, 2W].

    Both at once are one transposed convolution of stride 2, 4×4: every pixel takes 4 products in place of 9.
    """

    def __init__(self, channels: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def kernel(self) -> Tensor:
        """[C in, C out, 4, 4]: the 3×3 kernel, spread by the 2×2 copies of each pixel."""
        spread = F.avg_pool2d(F.pad(self.weight, (1, 1, 1, 1)), 2, stride=1) * 4
        return spread.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.kernel(), self.bias, stride=2, padding=1)
