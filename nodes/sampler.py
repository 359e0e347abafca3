"""Sampler: the node that draws."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from ..models.sampling.solver import SOLVERS
from . import wires
from .draw_model import draw_with_model
from .draw_net import draw_with_net
from .model import ModelDenoiser
from .order import Order
from .solver import Choice, choice_of, solver_tooltip

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.sampling.plan import Plan
    from ..models.sampling.trace import Trace


class VarifoldSampler:
    DESCRIPTION = "Draws pictures with a denoiser: from noise, from a picture, or inside a mask."
    SEARCH_ALIASES = ["ksampler", "generate", "sample", "inpaint", "image to image", "img2img", "draw"]
    CATEGORY = "Varifold"
    FUNCTION = "sample"
    RETURN_TYPES = ("IMAGE", "MASK", "LATENT", "VARIFOLD_TRACE", "STRING")
    RETURN_NAMES = ("image", "mask", "latent", "trace", "report")
    OUTPUT_TOOLTIPS = (
        "The pictures, straight colours; what is transparent is black.",
        "What is transparent: 1 − alpha, zeros if opaque. JoinImageWithAlpha with this gives the sprite.",
        "The state before it became a picture, for another Sampler.",
        "What the denoiser believed at each noise level of picture 0, for Trace.",
        "What was run: solver, evaluations, σ range, time, and what was left out.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        side = {"default": 0, "min": 0, "max": 8192}
        return {
            "required": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "What draws."}),
                "sigmas": ("SIGMAS", {"tooltip": "The noise levels to walk down, of Noise Schedule or any scheduler."}),
                "solver": (list(SOLVERS), {"tooltip": solver_tooltip()}),
                "guidance": (
                    "FLOAT",
                    {
                        "default": 1.5,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.05,
                        "round": 0.01,
                        "tooltip": "How strongly the prompt pulls (cfg). 1: no guidance, half the work. "
                        "The embedded denoiser likes 1.3 to 1.6.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": True,
                        "tooltip": "Same seed, same pictures; picture 3 of a batch is the same in any batch.",
                    },
                ),
                "batch": ("INT", {"default": 1, "min": 1, "max": 4096, "tooltip": "How many pictures."}),
                "width": ("INT", {**side, "tooltip": "In pixels; 0: the denoiser's own, or the picture's."}),
                "height": ("INT", {**side, "tooltip": "In pixels; 0: the denoiser's own, or the picture's."}),
            },
            "optional": {
                "positive": (
                    "CONDITIONING",
                    {"tooltip": "What to draw, of Prompt (Varifold); for a MODEL of CLIPTextEncode. None: anything."},
                ),
                "negative": (
                    "CONDITIONING",
                    {"tooltip": "What to steer away from. None: from the average picture; a MODEL needs it."},
                ),
                "image": (
                    "IMAGE",
                    {
                        "tooltip": "A picture to rework (with a schedule of denoise below 1) or to repaint inside the "
                        "mask. Scaled and cropped to the size; see-through only where it has 4 channels."
                    },
                ),
                "mask": (
                    "MASK",
                    {"tooltip": "With image or latent: 1 is repainted, 0 is kept. 64×64 zeros count as no mask."},
                ),
                "latent": (
                    "LATENT",
                    {
                        "tooltip": "Pictures to rework: it sets size, batch, numbering and mask. "
                        "One that is still noisy goes on with DisableNoise as noise and another seed."
                    },
                ),
                "vae": (
                    "VAE",
                    {"tooltip": "For a MODEL: makes pictures of its latents. The embedded denoiser needs none."},
                ),
                "noise": ("NOISE", {"tooltip": "Noise to start from. Noise added on the way still follows the seed."}),
                "sampler": ("SAMPLER", {"tooltip": "Solver (Varifold) with its knobs, instead of the solver above."}),
            },
        }

    def sample(
        self,
        denoiser,
        sigmas,
        solver,
        guidance,
        seed,
        batch,
        width,
        height,
        positive=None,
        negative=None,
        image=None,
        mask=None,
        latent=None,
        vae=None,
        noise=None,
        sampler=None,
    ):
        levels = wires.sigmas_in(sigmas)
        denoiser.space.check(levels)
        choice = Choice(solver) if sampler is None else choice_of(sampler)
        plan = choice.plan(levels, denoiser.space)
        order = Order(plan, guidance, seed, batch, width, height, positive, negative, image, mask, latent, vae, noise)
        draw = draw_with_model if isinstance(denoiser, ModelDenoiser) else draw_with_net
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            drawn = draw(denoiser, order)
        seconds = time.perf_counter() - began
        notes = [*drawn.notes, *(str(warning.message) for warning in warned if warning.category is UserWarning)]
        report = _report(plan, drawn.rgb, guidance, seconds, [*_exactness(drawn.trace), *notes])
        shown = {"text": [report], "varifold_errors": list(drawn.trace.errors)}
        return {"ui": shown, "result": (drawn.rgb, 1 - drawn.alpha, drawn.latent, drawn.trace, report)}


def _report(plan: Plan, rgb: Tensor, guidance: float, seconds: float, notes: list[str]) -> str:
    batch, height, width, _ = rgb.shape
    pictures = f"{batch} picture{'s' if batch > 1 else ''} of {width}×{height}"
    lines = [
        f"{pictures} in {seconds:.2f} s",
        f"{plan.solver}: {plan.steps} steps, {plan.evaluations} evaluations, guidance {guidance:g}",
        f"σ {plan.sigmas[0]:.4g} → {plan.sigmas[-1]:.4g} ({plan.space})",
    ]
    return "\n".join([*lines, *notes])


def _exactness(trace: Trace) -> list[str]:
    """A line about the least exact step, where the errors of steps can be told."""
    told = [(error, step) for step, error in enumerate(trace.errors) if error is not None]
    if not told:
        return []
    error, step = max(told)
    return [f"local error at most {error:.2g}, in step {step + 1} (σ {trace.plan.sigmas[step]:.3g})"]
