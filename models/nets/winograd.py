"""3×3 convolutions with a quarter of the multiplications: F(4×4, 3×3) of Lavin & Gray 2016 (arXiv:1509.09308).

Tiles of 6×6 inputs, filters and tiles of 4×4 outputs are related by y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, where the product in
the middle is a matrix product over channels for each of the 36 places. In float32 the result is within a few units of
rounding of the direct one; in half precision it would not be.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

B_T = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0))
B_T = (*B_T, (0, 4, 0, -5, 0, 1))
G = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # times 1/24
A_T = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
TILE, PLACES = 4, 36
BAND = 4_000_000  # numbers of transformed input at a time, so that they stay near the processor
CHUNK = 4_000_000  # numbers of transformed filters at a time, where they are used once


@cache
def _both_sides(name: str) -> Tensor:
    """M ⊗ M, which applies M to the rows and the columns of a flattened tile."""
    matrix = torch.tensor({"input": B_T, "filter": G, "output": A_T}[name], dtype=torch.float64, device="cpu")
    return torch.kron(matrix, matrix).div(576 if name == "filter" else 1).float()


def _transformed(weight: Tensor) -> Tensor:
    """[K, C, 3, 3] -> [36, C, K]."""
    flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (_both_sides("filter") @ flat).view(PLACES, *weight.shape[:2]).transpose(1, 2)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """conv2d(x, weight, bias, padding=1) of x [N, C, H, W], channels last, H and W multiples of 4, in float32."""
    count, channels, height, width = x.shape
    rows, columns = height // TILE, width // TILE
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, 6, TILE).unfold(2, 6, TILE).permute(4, 5, 0, 1, 2, 3)
    band = max(1, BAND // (PLACES * count * columns * channels))
    bands = [slice(first, min(first + band, rows)) for first in range(0, rows, band)]
    chunk = max(1, CHUNK // (PLACES * channels)) if len(bands) == 1 else len(weight)
    chunks = [slice(first, first + chunk) for first in range(0, len(weight), chunk)]
    filters = [_transformed(weight)] if len(bands) > 1 else (_transformed(weight[chunk]) for chunk in chunks)

    out = x.new_empty(count, rows, TILE, columns, TILE, len(weight))
    out_tiles = out.permute(2, 4, 0, 1, 3, 5)
    for band in bands:
        seen = tiles[:, :, :, band].reshape(PLACES, -1)
        seen = (_both_sides("input") @ seen).view(PLACES, -1, channels)
        for chunk, filter in zip(chunks, filters, strict=True):
            products = torch.bmm(seen, filter).view(PLACES, -1)
            part = out_tiles[:, :, :, band, :, chunk]
            part.copy_((_both_sides("output") @ products).view(part.shape))
    return out.view(count, height, width, -1).add_(bias).permute(0, 3, 1, 2)
