"""3×3 convolutions on the CPU, each by the fastest way to its sums."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import winograd

FEWEST_TILES = 64  # for Winograd's way; below, the filters' transform costs more than it saves
MOST_PLACES = 128  # for one matrix product; above, gathering what each place sees costs more than it saves


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution that keeps the sides, or halves even ones with `stride` 2. Exact to rounding either way.

    A library's own one arranges the weights anew at each call. Where there are few places that takes longest, and one
    matrix product does without.
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1):
        super().__init__(c_in, c_out, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        count, _, height, width = x.shape
        places = count * height * width // self.stride[0] ** 2
        if places <= MOST_PLACES:
            return self._product(x)
        tiles = self.stride == (1, 1) and height % winograd.TILE == 0 and width % winograd.TILE == 0
        if tiles and places >= FEWEST_TILES * winograd.TILE**2 and _exact_enough(x):
            return winograd.convolve(x, self.weight, self.bias)
        return super().forward(x)

    def _product(self, x: Tensor) -> Tensor:
        padded, step = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)), self.stride[0]
        seen = padded.unfold(1, 3, step).unfold(2, 3, step).permute(0, 1, 2, 4, 5, 3).flatten(3)
        return F.linear(seen, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


def _exact_enough(x: Tensor) -> bool:
    return x.dtype == torch.float32 and not torch.is_grad_enabled()
