"""Fit Schedule: noise levels and weights fitted to one denoiser."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models.sampling.solver import SOLVERS
from . import wires
from .conditions import check_prompts, conditioning_in, with_empty_prompt
from .fit_kept import Kept
from .host import current
from .model import ModelDenoiser
from .solver import Choice, as_sampler_function

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.guidance import Guidance
    from ..models.denoising.space import Space
    from ..models.sampling.fit import Fit
    from ..models.sampling.plan import Plan

CURVE = (4, 6, 8, 10, 12, 16, 20)
FITTING = [name for name, solver in SOLVERS.items() if not (solver.stochastic or solver.asks_for_negatives)]
RANDOM_PROMPTS = 24


@dataclass(frozen=True)
class FittedChoice(Choice):
    """A solver whose table is fitted, for the schedule that came with it."""

    table: Plan | None = None

    def plan(self, sigmas: list[float], space: Space) -> Plan:
        self.table.check_sigmas(sigmas)
        if self.table.space != space.name:
            raise ValueError(f"this solver was fitted in {self.table.space} space, and the model's is {space.name}")
        return self.table


class VarifoldFitSchedule:
    DESCRIPTION = (
        "Finds the few noise levels, and the solver's weights, that come closest to a long run of this denoiser. "
        "It costs a few minutes once, and then every picture is drawn in fewer steps."
    )
    SEARCH_ALIASES = ["optimal steps", "align your steps", "gits", "fewer steps", "fast sampling", "optimize schedule"]
    CATEGORY = "Varifold"
    FUNCTION = "fit"
    RETURN_TYPES = ("SIGMAS", "SAMPLER", "STRING")
    RETURN_NAMES = ("sigmas", "sampler", "report")
    OUTPUT_TOOLTIPS = (
        "The fitted noise levels; take them together with the sampler.",
        "The solver with its fitted weights, for these levels only: for Sampler and for SamplerCustom nodes.",
        "What was gained on starts that the fit had not seen, and how many steps would do.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "What it is fitted to, with its guidance method."}),
                "solver": (FITTING, {"tooltip": "The solver to start from. Solvers that add noise cannot be fitted."}),
                "steps": ("INT", {"default": 8, "min": 2, "max": 30, "tooltip": "How many steps the run shall have."}),
                "guidance": (
                    "FLOAT",
                    {
                        "default": 1.5,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.05,
                        "round": 0.01,
                        "tooltip": "As in Sampler: the fit is for this strength.",
                    },
                ),
                "prompts": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "A prompt a line, where Prompt (Varifold) makes them. Empty: words or classes at "
                        "random.",
                    },
                ),
                "trajectories": (
                    "INT",
                    {
                        "default": 32,
                        "min": 4,
                        "max": 512,
                        "tooltip": "How many runs it learns from, a quarter of them to check it. More: slower, surer.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": False,
                        "tooltip": "Of the runs it learns from.",
                    },
                ),
                "fitted": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "What was found; filled in by the run and saved with the workflow. Empty: fit anew.",
                    },
                ),
            },
            "optional": {
                "positive": ("CONDITIONING", {"tooltip": "The prompt, for a MODEL; then prompts does not count."}),
                "negative": ("CONDITIONING", {"tooltip": "As in Sampler; a MODEL needs it where guidance is not 1."}),
                "latent": ("LATENT", {"tooltip": "For a MODEL: the size to fit for. None: the size it draws best."}),
            },
        }

    def fit(
        self,
        denoiser,
        solver,
        steps,
        guidance,
        prompts,
        trajectories,
        seed,
        fitted,
        positive=None,
        negative=None,
        latent=None,
    ):
        question = {
            "solver": solver,
            "steps": steps,
            "guidance": [guidance, *_told(denoiser.guidance)],
            "prompts": [line.strip() for line in prompts.splitlines() if line.strip()],
            "trajectories": trajectories,
            "seed": seed,
            "conditions": [_digest(positive), _digest(negative)],
            "latent": None if latent is None else list(latent["samples"].shape[1:]),
        }
        kept = Kept(question, denoiser)
        text = kept.find(fitted)
        if text is None:
            find = _of_model if isinstance(denoiser, ModelDenoiser) else _of_net
            found = find(denoiser, question, positive, negative, latent)
            text = kept.keep(found.plan, _report(found, solver, steps), found.curve)
        plan, report, curve = kept.read(text)
        sampler = current().sampler(as_sampler_function(FittedChoice(solver, table=plan)))
        shown = {"text": [report], "varifold_fit": [text], "varifold_curve": [curve]}
        return {"ui": shown, "result": (wires.sigmas_out(list(plan.sigmas)), sampler, report)}


def _counted(question: dict) -> Callable:
    """wrap(D) for the bar and the cancel button of this node."""
    from ..models.sampling.fit import evaluations

    host = current()
    progress, done = host.progress(evaluations(question["steps"], question["solver"], CURVE)), 0

    def wrap(D: Callable) -> Callable:
        def counted(x: Tensor, sigma: float) -> Tensor:
            nonlocal done
            host.check_cancelled()
            x0 = D(x, sigma)
            done += 1
            progress.update(done)
            return x0

        return counted

    return wrap


def _of_net(denoiser, question: dict, positive: Any, negative: Any, latent: Any) -> Fit:
    from ..models.sampling import fit

    if latent is not None:
        raise ValueError("latent: for a MODEL only, this denoiser is fitted at its own size")
    size, scale, guide = denoiser.shape[1:], question["guidance"][0], denoiser.guidance.guide
    if "tokens" in denoiser.conditions:
        check_prompts(positive, negative, scale != 1 and guide is None)
    denoiser = with_empty_prompt(denoiser, size)
    current().load(*([denoiser] if guide is None else [denoiser, guide]))
    conds, _ = conditioning_in(positive, denoiser, size)
    known = denoiser.vocabulary or denoiser.labels
    if positive is None and known is not None:
        prompts = question["prompts"] or known.random_prompts(RANDOM_PROMPTS, question["seed"])
        conds = [denoiser.prompt(text) for text in prompts]
    train, unseen = fit.of_denoiser(
        denoiser,
        conds,
        negative=conditioning_in(negative, denoiser, size)[0],
        guidance=scale,
        trajectories=question["trajectories"],
        seed=question["seed"],
        wrap=_counted(question),
    )
    start = fit.usual_start(denoiser, question["steps"])
    return fit.fit(train, unseen, start, question["solver"], denoiser.space, curve=CURVE)


def _of_model(denoiser: ModelDenoiser, question: dict, positive: Any, negative: Any, latent: Any) -> Fit:
    import torch

    from ..models.sampling import fit, schedule
    from ..models.sampling.noise import Noise

    scale = question["guidance"][0]
    check_prompts(positive, negative, scale != 1)
    models, facts = current().models, denoiser.facts
    seen, unseen = fit.shares(question["trajectories"])
    side = facts.side // facts.downscale
    shape = (facts.channels, side, side) if latent is None else tuple(wires.latent_in(latent).shape[1:])
    start = schedule.simple(question["steps"], models.sigma_table(denoiser.model))
    found, count = None, max(1, fit.AT_ONCE // torch.Size(shape).numel())
    wrap, check_cancelled = _counted(question), current().check_cancelled

    def walk(D: Callable, x: Tensor) -> Tensor:
        nonlocal found

        def one(part: Tensor, sigma: float) -> Tensor:
            check_cancelled()
            return D(part, sigma)

        def in_parts(x: Tensor, sigma: float) -> Tensor:
            return torch.cat([one(part, sigma) for part in x.split(count)])

        train, others = (fit.Starts(part, lambda levels: wrap(in_parts)) for part in x.split([seen, unseen]))
        found = fit.fit(train, others, start, question["solver"], denoiser.space, curve=CURVE)
        return x

    models.draw(
        denoiser.model,
        walk,
        positive=positive,
        negative=positive if negative is None else negative,
        guidance=denoiser.guidance,
        scale=scale,
        sigmas=wires.sigmas_out(start),
        seed=question["seed"],
        noise=Noise(question["seed"], range(seen + unseen), shape)(0),
        latent=torch.zeros(seen + unseen, *shape),
        mask=None,
        pairs=False,
    )
    return found


def _report(found: Fit, solver: str, steps: int) -> str:
    best, *_ = found.figures
    start, used = found.figures["usual schedule"], found.figures[best]
    if best == "usual schedule":
        lines = [
            f"{steps} steps of {solver}: nothing found that is closer on unseen starts; the usual schedule is given"
        ]
    else:
        times = start.median / max(used.median, 1e-12)
        lines = [f"{steps} steps of {solver}, {best}: {times:.1f} times closer than the usual schedule"]
    lines.append("distance to a fine run, on unseen starts, median (and root mean square):")
    lines += [f"  {name}: {figures.median:.2g} ({figures.rms:.2g})" for name, figures in found.figures.items()]
    lines.append("median by steps: " + ", ".join(f"{n}: {error:.2g}" for n, error in found.curve.items()))
    if found.enough is not None:
        lines.append(f"{found.enough} steps would do: under 1 % of the pictures' spread")
    return "\n".join(lines)


def _told(guidance: Guidance) -> list:
    """What tells a way of guiding from others."""
    guide = getattr(guidance.guide, "identity", None)
    return [guidance.method, list(guidance.knobs), guidance.low, guidance.high, guide, _digest(guidance.empty)]


def _digest(conditioning: list | None) -> str | None:
    """What tells a CONDITIONING from others."""
    return None if conditioning is None else hashlib.sha256(_bytes(conditioning)).hexdigest()


def _bytes(value: Any) -> bytes:
    """What tells a value of a CONDITIONING from others; a host's objects, as ControlNets, as long as they live."""
    if isinstance(value, dict):
        value = sorted(value.items(), key=str)
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(_bytes, value)) + b"]"
    if hasattr(value, "detach"):
        return repr(tuple(value.shape)).encode() + value.detach().float().cpu().numpy().tobytes()
    return repr(value).encode()
