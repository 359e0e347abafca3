"""Explain: what a denoiser or a generator has learned, shown and told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .asked import AT_ONCE, Bar, asked, check_fits, colours, described, draw_all, load, parts_of, said_of, some_of
from .draw_levels import draw_levels
from .drawing import cells, draw_sheet, image_out

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..models.explain.asking import Asked
    from ..models.train.pictures import Pictures

LEVELS, JUDGED = 14, 128
STARTS = 4
COMPARED = 2000
AXES = 8


class Question(NamedTuple):
    """What is asked of a model."""

    words: str
    seed: int
    count: int
    pictures: Pictures | None


class Answer(NamedTuple):
    """A labelled sheet, the pictures on it [N, H, W, 4] in 0..1, and lines of a report."""

    sheet: Image.Image
    pictures: Tensor
    told: list[str]


class VarifoldExplain:
    DESCRIPTION = (
        "Shows what a denoiser or a generator has learned: its error by noise level, what each step and each word "
        "does, the training pictures nearest to its own, walks between pictures, the axes of its noise."
    )
    SEARCH_ALIASES = ["interpret", "latent traversal", "interpolation", "slerp", "nearest neighbor", "ablation", "loss"]
    CATEGORY = "Varifold/training"
    FUNCTION = "explain"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "pictures", "report")
    OUTPUT_TOOLTIPS = (
        "The answer on one labelled sheet, or as a plot.",
        "The pictures of the sheet as a batch: a walk as an animation, for instance.",
        "The answer in numbers.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "what": (
                    list(ANSWERS),
                    {
                        "tooltip": "loss by noise level: needs denoiser and pictures. steps: needs a denoiser. words: "
                        "each left out in turn. nearest pictures: needs the pictures it learnt from. walk between "
                        "seeds: from seed to seed + 1. walk between words: a line each. axes: needs a generator."
                    },
                ),
                "words": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "What to draw, in words that the model knows. For a walk between words two lines or "
                        "more.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": False,
                        "tooltip": "Of the noise that the pictures are made of.",
                    },
                ),
                "count": (
                    "INT",
                    {
                        "default": 8,
                        "min": 2,
                        "max": 64,
                        "tooltip": "How many pictures: of a walk, along an axis, or held against the training's.",
                    },
                ),
                "steps": ("INT", {"default": 16, "min": 2, "max": 200, "tooltip": "Of a denoiser, for each picture."}),
                "guidance": (
                    "FLOAT",
                    {
                        "default": 1.5,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.05,
                        "round": 0.01,
                        "tooltip": "How strongly the words pull a denoiser (cfg). The loss by noise level has none.",
                    },
                ),
            },
            "optional": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "What is explained; this or a generator."}),
                "generator": ("VARIFOLD_GENERATOR", {"tooltip": "What is explained; this or a denoiser."}),
                "pictures": ("VARIFOLD_PICTURES", {"tooltip": "What it learnt from, with the held-out ones."}),
            },
        }

    def explain(self, what, words, seed, count, steps, guidance, denoiser=None, generator=None, pictures=None):
        if (denoiser is None) == (generator is None):
            raise ValueError("wire a denoiser or a generator: one of the two is explained")
        model = asked(denoiser if generator is None else generator, steps, guidance)
        load(model.model)
        sheet, drawn, told = ANSWERS[what](model, Question(words, seed, count, pictures))
        report = "\n".join(told)
        return {"ui": {"text": [report]}, "result": (image_out([sheet]), drawn[..., :3].clone(), report)}


def _by_level(model: Asked, question: Question) -> Answer:
    """The held-out pictures found again at each noise level."""
    import torch

    from ..models.explain.levels import errors_by_level, levels_of

    denoiser, pictures = model.model, _wanted(question)
    if model.at_once:
        raise ValueError("loss by noise level: a generator has no noise levels, wire a denoiser")
    check_fits(denoiser, pictures)
    if getattr(denoiser, "latents", None) is not None:
        raise ValueError("loss by noise level: this denoiser draws latents, and the pictures are none")
    held = pictures.held is not None and len(pictures.held) >= 2
    judged = pictures.held if held else pictures
    numbers = range(min(len(judged), JUDGED))
    cond, x0 = model.said(said_of(judged, numbers)), judged.x0(numbers).to(denoiser.device)
    bar, glimpses = Bar(LEVELS * -(-len(x0) // AT_ONCE)), []

    def wrap(_: Callable) -> Callable:
        def in_parts(x: Tensor, sigma: float) -> Tensor:
            found = []
            for first in range(0, len(x), AT_ONCE):
                which = slice(first, first + AT_ONCE)
                found.append(denoiser(x[which], sigma, some_of(cond, which)))
                bar.tick()
            glimpses.append(found[0][0])
            return torch.cat(found)

        return in_parts

    found = errors_by_level(denoiser, x0, levels_of(denoiser, LEVELS), seed=question.seed, wrap=wrap)
    told = [f"{len(x0)} {'held-out' if held else 'training'} pictures; mean square error of x0, a number at a time:"]
    if not held:
        told.append("  none are held out, so these are pictures that it may know by heart")
    for sigma, error, uncertain in zip(found.sigmas, found.errors, found.uncertain, strict=True):
        told.append(f"  σ {sigma:.3g}: {error:.3g} ± {uncertain:.1g}")
    told.append(f"answering the mean picture: {found.knowing:.3g}; a denoiser that has learned is below it everywhere")
    return Answer(draw_levels(found), colours(model, torch.stack(glimpses)), told)


def _steps(model: Asked, question: Question) -> Answer:
    """What the denoiser believed at each evaluation, and what that counts for."""
    from ..models.explain.steps import step_shares
    from ..models.sampling.trace import Recorder

    if model.at_once:
        raise ValueError("steps: a generator draws at once, wire a denoiser")
    recorder = Recorder(model.plan, model.model.pictures)
    noise = _noise(model, question.seed, 1)
    draw_all(model, noise, _said(model, question.words), Bar(parts_of(model, 1)), recorder)
    trace = recorder.trace()
    shares = step_shares(trace)
    told = [
        f"{model.plan.solver}, {model.plan.evaluations} evaluations; of each its weight in the state before the last, "
        "how far its answer moved, how far it still is from the last, and the local error of the step"
    ]
    labels = []
    for share in shares:
        labels.append(f"σ {share.sigma:.3g} moved {share.moved:.3f}")
        error = "" if share.error is None else f", error {share.error:.2g}"
        told.append(
            f"  {share.row + 1}: σ {share.sigma:.3g}, weight {share.weight:+.3f}, moved {share.moved:.3f}, "
            f"left {share.left:.3f}{error}"
        )
    settled = next(share for share in shares if share.left <= 0.1 * shares[0].left)
    told.append(f"nine tenths of the way to the last answer are gone by evaluation {settled.row + 1}")
    drawn = colours(model, trace.frames.float())
    return Answer(_sheet(drawn, labels), drawn, told)


def _words(model: Asked, question: Question) -> Answer:
    """Each word left out, from the same noises."""
    from ..models.explain.words import distances, leave_one_out

    vocabulary = model.model.vocabulary
    read = [] if vocabulary is None else vocabulary.read(question.words)
    known, strange = [own for _, own in read if own is not None], [word for word, own in read if own is None]
    if not known:
        raise ValueError("words: none of them is known to this model; say what to draw in words that it learnt")
    texts = leave_one_out(known)
    noise = _noise(model, question.seed, STARTS)
    bar = Bar(len(texts) * parts_of(model, STARTS))
    drawn = [colours(model, draw_all(model, noise, model.said([text]), bar)) for text in texts]
    each = [distances(_stack([pictures[start] for pictures in drawn])) for start in range(STARTS)]
    means, spreads = np.mean(each, 0), np.std(each, 0) / STARTS**0.5
    names = [*(f"without {word}" for word in known), "without any"]
    order = [*np.argsort(-means[: len(known)], kind="stable"), *range(len(known), len(means))]
    told = [f"how far the picture goes, root mean square over {STARTS} noises, most first:"]
    told += [f"  {names[k]}: {means[k]:.3f} ± {spreads[k]:.1g}" for k in order]
    told += [f"not known, and left out: {', '.join(strange)}"] if strange else []
    shown = _stack([drawn[0][0], *(drawn[k + 1][0] for k in order)])
    labels = [" ".join(known), *(f"{names[k]}: {means[k]:.3f}" for k in order)]
    return Answer(_sheet(shown, labels), shown, told)


def _nearest(model: Asked, question: Question) -> Answer:
    """Pictures drawn, each above the nearest that was trained on."""
    from ..dataset.measures.features import NAME
    from ..dataset.measures.neighbours import nearest_squares, squared_distances

    pictures, random = _wanted(question), np.random.default_rng(question.seed)
    check_fits(model.model, pictures)
    noise = _noise(model, question.seed, question.count)
    numbers = sorted(random.permutation(len(pictures))[:COMPARED].tolist())
    held = [] if pictures.held is None else range(min(len(pictures.held), COMPARED))
    units = sum(-(-count // AT_ONCE) for count in (question.count, len(numbers), len(held)))
    bar = Bar(parts_of(model, question.count) + units)
    drawn = colours(model, draw_all(model, noise, _said(model, question.words), bar))
    own = described(drawn, bar)
    known = np.concatenate([described(pictures.rgb(part), bar) for part in _split(numbers)])
    squares = np.concatenate([rows for _, rows in squared_distances(own, known)])
    which, apart = squares.argmin(1), np.sqrt(squares.min(1))
    order = np.argsort(apart, kind="stable")
    told = [f"distances in {NAME} features; {len(numbers)} of {len(pictures)} training pictures compared"]
    if held:
        others = np.concatenate([described(pictures.held.rgb(part), bar) for part in _split(held)])
        usual = np.sqrt(nearest_squares(others, known))
        low, middle = np.quantile(usual, (0.01, 0.5))
        told.append(f"held-out pictures are {middle:.3f} from the nearest in the median, 1 % of them below {low:.3f}")
        told.append(f"drawn ones: {np.median(apart):.3f} in the median, {(apart <= low).mean():.0%} below {low:.3f}")
    places = [numbers[which[k]] for k in order]
    names = [pictures.names[place] if pictures.names else f"number {place}" for place in places]
    told += [f"  {k + 1}: {apart[k]:.3f} from {name}" for k, name in zip(order, names, strict=True)]
    shown = _stack([*drawn[order.tolist()], *_with_alpha(pictures.rgb(places))])
    labels = [*(f"{apart[k]:.3f}" for k in order), *names]
    return Answer(_sheet(shown, labels, columns=question.count), shown, told)


def _between_seeds(model: Asked, question: Question) -> Answer:
    import torch

    from ..models.explain.walks import between_noises

    first, second = (_noise(model, question.seed + k, 1)[0] for k in range(2))
    shares = torch.linspace(0, 1, question.count)
    noise = between_noises(first, second, shares)
    bar = Bar(parts_of(model, question.count))
    drawn = colours(model, draw_all(model, noise, _said(model, question.words), bar))
    labels = [f"{share:.0%}" for share in shares.tolist()]
    labels[0], labels[-1] = f"seed {question.seed}", f"seed {question.seed + 1}"
    return Answer(_sheet(drawn, labels), drawn, _way(drawn, labels))


def _between_words(model: Asked, question: Question) -> Answer:
    import torch

    from ..models.explain.walks import between_conditions

    lines = [line.strip() for line in question.words.splitlines() if line.strip()]
    if len(lines) < 2:
        raise ValueError("walk between words: write two lines or more, and it goes from each to the next")
    conds = [_said(model, line) for line in lines]
    labels, mixed = [], []
    each = max(1, round((question.count - 1) / (len(lines) - 1)))
    for k in range(each * (len(lines) - 1) + 1):
        part = min(k // each, len(lines) - 2)
        share = k / each - part
        mixed.append(between_conditions(conds[part], conds[part + 1], torch.tensor([share]))["words"])
        labels.append(f"{share:.0%}" if k % each else lines[k // each])
    width = max(each.shape[1] for each in mixed)
    padded = [torch.cat([each, each.new_zeros(1, width - each.shape[1], each.shape[2])], 1) for each in mixed]
    noise = _noise(model, question.seed, 1).expand(len(mixed), *model.noise_shape)
    bar = Bar(parts_of(model, len(mixed)))
    drawn = colours(model, draw_all(model, noise, {"words": torch.cat(padded)}, bar))
    return Answer(_sheet(drawn, labels), drawn, _way(drawn, labels))


def _axes(model: Asked, question: Question) -> Answer:
    import torch

    from ..models.explain.axes import REACH, along, strongest_axes

    if not model.at_once:
        raise ValueError("axes: a denoiser's noise is as large as its pictures, wire a generator")
    cond, noise = _said(model, question.words), _noise(model, question.seed, STARTS)
    size = noise[0].numel()
    bar = Bar(-(-2 * STARTS * size // AT_ONCE) + min(AXES, size))

    def draw(noise: Tensor) -> Tensor:
        return colours(model, draw_all(model, noise, cond, bar))

    axes = strongest_axes(draw, noise)
    shown, labels = [], []
    places = torch.linspace(-REACH, REACH, question.count)
    for axis, effect in zip(axes.order[:AXES], axes.effects, strict=False):
        shown.append(draw(along(noise[0], axis, places)))
        labels += [
            f"axis {axis + 1}: {effect:.3f}" if k == 0 else f"{place:+.1f}" for k, place in enumerate(places.tolist())
        ]
    drawn = torch.cat(shown)
    alive = sum(effect > 0.1 * axes.effects[0] for effect in axes.effects)
    told = [f"{model.model.kind}, {size} axes; how far a picture goes from −{REACH:g} to {REACH:g}, strongest first:"]
    told += [f"  axis {axis + 1}: {effect:.3f}" for axis, effect in zip(axes.order[:16], axes.effects, strict=False)]
    told.append(f"{alive} axes do at least a tenth of what the strongest does")
    return Answer(_sheet(drawn, labels, columns=question.count), drawn, told)


ANSWERS: dict[str, Callable[[Asked, Question], Answer]] = {
    "loss by noise level": _by_level,
    "steps": _steps,
    "words": _words,
    "nearest pictures": _nearest,
    "walk between seeds": _between_seeds,
    "walk between words": _between_words,
    "axes": _axes,
}


def _wanted(question: Question) -> Pictures:
    if question.pictures is None:
        raise ValueError("pictures: wire Training Pictures, with what the model learnt from")
    return question.pictures


def _said(model: Asked, words: str) -> dict | None:
    """The condition of a text. Raises ValueError for words of which the model knows none."""
    if not words.strip():
        return None
    cond = model.said([words])
    if cond is None:
        raise ValueError(f"this model knows no word of {words.strip()!r:.60}: leave words empty, or say others")
    return cond


def _noise(model: Asked, seed: int, count: int) -> Tensor:
    from ..models.sampling.noise import Noise

    return Noise(seed, range(count), model.noise_shape)(0)


def _way(drawn: Tensor, labels: list[str]) -> list[str]:
    """How far each picture of a walk is from the one before."""
    apart = (drawn[1:] - drawn[:-1]).square().flatten(1).mean(1).sqrt().tolist()
    told = ["how far each picture is from the one before, root mean square:"]
    return told + [f"  {label}: {each:.3f}" for label, each in zip(labels[1:], apart, strict=True)]


def _split(numbers):
    return [numbers[first : first + AT_ONCE] for first in range(0, len(numbers), AT_ONCE)]


def _with_alpha(rgb: Tensor) -> Tensor:
    import torch

    return rgb if rgb.shape[-1] == 4 else torch.cat([rgb, torch.ones_like(rgb[..., :1])], -1)


def _stack(pictures: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(pictures)


def _sheet(rgba: Tensor, labels: list[str], columns: int = 0) -> Image.Image:
    return draw_sheet(cells(rgba[..., :3], 1 - rgba[..., 3], 0), labels, columns=columns)
