"""Sampler: the node that draws."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from ..models.denoising import pixels
from ..models.sampling.solver import SOLVERS
from . import wires
from .host import current
from .preview import preview
from .solver import Choice, choice_of, solver_tooltip
from .start import start_noise, start_of

if TYPE_CHECKING:
    from torch import Tensor

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
                "width": ("INT", {**side, "tooltip": "In pixels; 0: the denoiser's own."}),
                "height": ("INT", {**side, "tooltip": "In pixels; 0: the denoiser's own."}),
            },
            "optional": {
                "positive": ("CONDITIONING", {"tooltip": "What to draw, of Prompt (Varifold). None: anything."}),
                "negative": ("CONDITIONING", {"tooltip": "What to steer away from. None: from the average picture."}),
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
                    {"tooltip": "For denoisers of latents. Pixel denoisers, as the embedded one, need none."},
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
        from ..models import Recorder, sample

        host = current()
        levels = wires.sigmas_in(sigmas)
        denoiser.space.check(levels)
        choice = Choice(solver) if sampler is None else choice_of(sampler)
        plan = choice.plan(levels, denoiser.space)
        positive, notes = wires.conditioning_in(positive, denoiser)
        negative, negative_notes = wires.conditioning_in(negative, denoiser)
        notes += negative_notes
        if vae is not None:
            notes.append("vae: not used, this denoiser draws pixels")

        start, indices, mask = start_of(denoiser, image, latent, mask, batch, width, height)
        batch = batch if start is None else start.shape[0]
        shape = (denoiser.shape[0], height or denoiser.shape[1], width or denoiser.shape[2])
        shape = shape if start is None else tuple(start.shape[1:])
        denoiser.check_shape((batch, *shape))
        given_noise = None if noise is None else start_noise(noise, batch, shape, indices)

        host.load(denoiser)
        progress = host.progress(plan.evaluations)

        def observe(done: int, total: int, x0: Tensor | None) -> None:
            host.check_cancelled()
            progress.update(done, None if x0 is None else preview(x0, denoiser.channels))

        recorder = Recorder(plan, denoiser.channels)
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            state = sample(
                denoiser,
                levels,
                solver=plan,
                seed=seed,
                batch=batch,
                indices=indices,
                shape=shape,
                cond=positive,
                negative=negative,
                guidance=guidance,
                noise=given_noise,
                image=start,
                mask=mask,
                observe=observe,
                pictures=progress.wants_preview,
                recorder=recorder,
            )
        seconds = time.perf_counter() - began
        notes += [str(warning.message) for warning in warned if warning.category is UserWarning]

        x0 = (state / denoiser.space.alpha(levels[-1])).cpu()
        rgb, alpha = pixels.decode(x0, denoiser.channels)
        trace = recorder.trace()
        report = _report(plan, batch, shape, guidance, seconds, [*_exactness(trace), *notes])
        latent = {"samples": x0, **({} if indices is None else {"batch_index": indices})}
        shown = {"text": [report], "varifold_errors": list(trace.errors)}
        return {"ui": shown, "result": (rgb, 1 - alpha, latent, trace, report)}


def _report(plan, batch: int, shape: tuple[int, ...], guidance: float, seconds: float, notes: list[str]) -> str:
    pictures = f"{batch} picture{'s' if batch > 1 else ''} of {shape[2]}×{shape[1]}"
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
