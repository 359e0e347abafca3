"""From Model: every MODEL that ComfyUI has loaded, as a denoiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .host import current

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.guidance import Guidance
    from ..models.denoising.space import Space
    from .host import Facts


@dataclass(frozen=True)
class ModelDenoiser:
    """A MODEL of the host's, and a VAE or None, with what nodes ask of a denoiser; the host calls it, not we."""

    model: Any
    vae: Any
    facts: Facts
    guidance: Guidance

    vocabulary = labels = None

    @property
    def space(self) -> Space:
        return self.facts.space

    @property
    def sigma_min(self) -> float:
        return self.facts.sigma_min

    @property
    def sigma_max(self) -> float:
        return self.facts.sigma_max

    def with_guidance(self, guidance: Guidance) -> ModelDenoiser:
        """The same, guided by another method."""
        return replace(self, guidance=guidance)

    def pictures(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """x0 of a run as straight colours and alpha: by the VAE, or without one a small rough view."""
        models = current().models
        if self.vae is None:
            return _opaque(models.rough(self.model, x0))
        return _opaque(models.decode(self.vae, models.to_wire(self.model, x0)))

    def finished(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples of a LATENT wire as colours and alpha: by the VAE, or without one a rough view of the same size."""
        from torch.nn.functional import interpolate

        models = current().models
        if self.vae is not None:
            return _opaque(models.decode(self.vae, samples))
        rgb = models.rough(self.model, models.from_wire(self.model, samples)).movedim(-1, 1)
        rgb = interpolate(rgb, scale_factor=self.facts.downscale, mode="bilinear")
        return _opaque(rgb.movedim(1, -1).cpu())

    def glimpse(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """The same, as small as it is fast."""
        return _opaque(current().models.rough(self.model, x0))


def _opaque(rgb: Tensor) -> tuple[Tensor, Tensor]:
    return rgb, rgb.new_ones(rgb.shape[:-1])


class VarifoldFromModel:
    DESCRIPTION = (
        "A MODEL that ComfyUI has loaded, with its LoRAs and patches, as a denoiser: for Varifold's schedules, "
        "solvers, noise, trace and Sampler."
    )
    SEARCH_ALIASES = ["convert model", "sdxl", "flux", "stable diffusion", "model to denoiser", "adapter"]
    CATEGORY = "Varifold"
    FUNCTION = "make"
    RETURN_TYPES = ("VARIFOLD_DENOISER",)
    RETURN_NAMES = ("denoiser",)
    OUTPUT_TOOLTIPS = ("For Noise Schedule, Guidance and Sampler. Prompts come from CLIPTextEncode, as ever.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"model": ("MODEL", {"tooltip": "Of any loader, patched by any node."})},
            "optional": {
                "vae": (
                    "VAE",
                    {"tooltip": "Makes pictures of what it draws, and takes pictures in. None: latents only."},
                )
            },
        }

    def make(self, model, vae=None):
        from ..models.denoising.guidance import CFG

        facts = current().models.facts(model)
        if facts.dimensions != 2:
            raise ValueError(
                f"latents of this MODEL have {facts.dimensions + 2} dimensions, as of videos or sounds; "
                "Varifold draws with those of 4"
            )
        return (ModelDenoiser(model, vae, facts, CFG),)
