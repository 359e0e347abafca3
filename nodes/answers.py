"""What the browser asks of the nodes beside runs; a host serves each answer under its name, as JSON to JSON."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .denoiser import path_of
from .guidance import KNOBS, VarifoldGuidance
from .review import rebuild, reject, relabel, restore, review
from .sampler import VarifoldSampler
from .schedule import USED, VarifoldSchedule
from .solver import VarifoldSolver, choice_of
from .toy import VarifoldToy, toy_of
from .toy_flow import MOST_POINTS, flow

UNWIRED = {"curve": "karras", "steps": 12}
KINDS = {"INT", "FLOAT", "BOOLEAN", "STRING"}


class Range(NamedTuple):
    """What Noise Schedule asks of a denoiser, and its space."""

    sigma_min: float
    sigma_max: float
    space: str
    table: tuple[float, ...] | None = None


def schedule(question: dict[str, Any]) -> dict[str, Any]:
    """{widgets, file?, toy?} -> the σ's that Noise Schedule would make, their log-SNR, and the knobs the curve uses.

    `file` is that of the Load Denoiser which the node hangs on, `toy` the widgets of the Toy Denoiser, if it does.
    A log-SNR that is infinite is null. Where no σ's can be made: {error, used}.
    """
    widgets = _widgets(VarifoldSchedule, question.get("widgets"))
    try:
        levels = _levels(widgets, _range(question))
    except (ValueError, ArithmeticError, OSError) as error:
        levels = {"error": str(error)}
    return {**levels, "used": USED[widgets["curve"]]}


def _levels(widgets: dict[str, Any], between: Range | None) -> dict[str, list]:
    sigmas = VarifoldSchedule().make(**widgets, denoiser=between)[0].tolist()
    in_flow = between is not None and between.space == "flow"
    return {"sigmas": sigmas, "log_snr": [_log_snr(sigma, in_flow) for sigma in sigmas]}


def _range(question: dict[str, Any]) -> Range | None:
    from ..models.denoising.timesteps import table

    if question.get("file"):
        spec = _spec(question["file"])
        return Range(spec.sigma_min, spec.sigma_max, spec.space, table(spec.betas) if spec.betas else None)
    if question.get("toy") is not None:
        toy = toy_of(**_widgets(VarifoldToy, question["toy"]))
        return Range(toy.sigma_min, toy.sigma_max, toy.space.name)
    return None


def _log_snr(sigma: float, flow: bool) -> float | None:
    alpha = 1 - sigma if flow else 1.0
    return 2 * math.log(alpha / sigma) if sigma > 0 and alpha > 0 else None


def denoiser(question: dict[str, Any]) -> dict[str, Any]:
    """{file} -> what it is called, its report, its words, its size in pixels and its range of σ."""
    from ..models.checkpoint import report
    from ..models.denoising.latents import LATENTS

    file = question.get("file", "")
    spec = _spec(file)
    downscale = LATENTS[spec.channels].downscale if spec.channels in LATENTS else 1
    return {
        "title": spec.title,
        "report": report(path_of(file)),
        "words": list(spec.vocabulary[1:]),
        "shape": [spec.shape[0], *(side * downscale for side in spec.shape[1:])],
        "sigma_min": spec.sigma_min,
        "sigma_max": spec.sigma_max,
        "space": spec.space,
    }


def prompt(question: dict[str, Any]) -> dict[str, Any]:
    """{file, text} -> how each word of a prompt is read: [word as written, the known word or null], in order.

    Of a denoiser of classes: the whole text and its class. Of one that reads no text itself: {hint}.
    """
    from ..models.denoising.labels import Labels
    from ..models.denoising.vocabulary import Vocabulary

    text = question.get("text")
    if not isinstance(text, str) or len(text) > 10_000:
        raise ValueError("text should be a text of at most 10,000 letters")
    spec = _spec(question.get("file", ""))
    if spec.vocabulary:
        return {"words": Vocabulary(spec.vocabulary).read(text)}
    if "classes" in spec.config:
        labels = Labels(spec.config["classes"], spec.labels)
        index, _ = labels.index(text)
        return {"words": [[text, labels.name(index) if index >= 0 else None]] if text.strip() else []}
    return {"hint": "this denoiser reads no words itself"}


def toy(question: dict[str, Any]) -> dict[str, Any]:
    """{widgets, schedule?, solver?, seed?, points?} -> the points of a Toy Denoiser on their way, see `flow`.

    `schedule` is a question about a Noise Schedule, else 12 karras steps; `solver` has widgets of a Solver.
    """
    widgets = _widgets(VarifoldToy, question.get("widgets"))
    asked = question.get("schedule")
    asked = asked if isinstance(asked, dict) else {"widgets": UNWIRED, "toy": widgets}
    sigmas = _levels(_widgets(VarifoldSchedule, asked.get("widgets")), _range(asked))["sigmas"]
    choice = choice_of(VarifoldSolver().choose(**_widgets(VarifoldSolver, question.get("solver")))[0])
    seed = _value("seed", *VarifoldSampler.INPUT_TYPES()["required"]["seed"], question)
    points = _value("points", "INT", {"default": MOST_POINTS, "min": 1, "max": MOST_POINTS}, question)
    return flow(toy_of(**widgets), sigmas, choice, seed, points)


def guidance(question: dict[str, Any]) -> dict[str, Any]:
    """{widgets} -> the knobs that Guidance's method uses."""
    return {"used": list(KNOBS[_widgets(VarifoldGuidance, question.get("widgets"))["method"]])}


GRAPH = {"schedule": schedule, "denoiser": denoiser, "prompt": prompt, "toy": toy, "guidance": guidance}
REVIEW = {"review": review, "reject": reject, "restore": restore, "relabel": relabel, "rebuild": rebuild}
ANSWERS = GRAPH | REVIEW


def answer(name: str, question: Any) -> dict[str, Any]:
    """The answer to a question, or {"error": what is wrong}: the browser shows it where it asked."""
    if name not in ANSWERS or not isinstance(question, dict):
        return {"error": f"there is no question {name!r}, or it is not an object"}
    try:
        return ANSWERS[name](question)
    except (ValueError, ArithmeticError, OSError) as error:
        return {"error": str(error)}


def _spec(file: Any):
    from ..models.checkpoint import inspect

    if not isinstance(file, str):
        raise ValueError("file should be a name of Load Denoiser's menu")
    return inspect(path_of(file)).match.spec


def _widgets(node: type, given: Any) -> dict[str, Any]:
    """Values for all widgets of a node, the default where none is given. Raises ValueError for one out of bounds."""
    given = given if isinstance(given, dict) else {}
    declared = [each for kind in ("required", "optional") for each in node.INPUT_TYPES().get(kind, {}).items()]
    return {
        name: _value(name, *kind, given) for name, kind in declared if isinstance(kind[0], list) or kind[0] in KINDS
    }


def _value(name: str, kind: Any, options: dict, given: dict) -> Any:
    choices = kind if isinstance(kind, list) else None
    value = given.get(name, options.get("default", choices and choices[0]))
    if choices is not None:
        if value not in choices:
            raise ValueError(f"{name} should be one of {', '.join(choices)}")
    elif kind in ("INT", "FLOAT"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not options["min"] <= value <= options["max"]:
            raise ValueError(f"{name} should be a number from {options['min']:g} to {options['max']:g}")
        value = int(value) if kind == "INT" else float(value)
    elif not isinstance(value, {"BOOLEAN": bool, "STRING": str}[kind]):
        raise ValueError(f"{name} should be a {kind.lower()}")
    return value
