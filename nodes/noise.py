"""Noise: a stream for every picture, for everyone's samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import wires

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StreamNoise:
    """What travels on a NOISE wire: `seed`, and the noise for a LATENT."""

    seed: int

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Unit normals like the LATENT's samples [B, ...], float32; picture b from stream `batch_index[b]`, else b.

        Raises ValueError for a nested latent, and for a `batch_index` of another length.
        """
        from ..models.sampling.noise import Noise

        samples = latent["samples"]
        if getattr(samples, "is_nested", False):
            raise ValueError("this LATENT is nested, of several parts: take RandomNoise for it")
        return Noise(self.seed, wires.indices_in(latent) or range(len(samples)), samples.shape[1:])(0)


class VarifoldNoise:
    DESCRIPTION = (
        "Noise of which every picture has a stream of its own: picture 3 of a batch of 4 is the same picture alone."
    )
    SEARCH_ALIASES = ["random noise", "seed", "per sample noise", "batch seed", "same seed in a batch"]
    CATEGORY = "Varifold"
    FUNCTION = "make"
    RETURN_TYPES = ("NOISE",)
    RETURN_NAMES = ("noise",)
    OUTPUT_TOOLTIPS = (
        "For SamplerCustomAdvanced and Sampler (Varifold). LatentFromBatch then draws one picture of a batch again.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": True,
                        "tooltip": "Same seed and same number in the batch, same noise, on any device.",
                    },
                ),
            }
        }

    def make(self, seed):
        return (StreamNoise(seed),)
