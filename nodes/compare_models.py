"""Compare Models: denoisers and generators side by side, on the same held-out pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .asked import AT_ONCE, Bar, asked, check_fits, colours, described, draw_all, load, parts_of, said_of
from .draw_table import Line, draw_table, table_text
from .drawing import cells, draw_sheet, image_out
from .training import CATEGORY

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..dataset.measures.memorisation import Memorisation
    from ..dataset.measures.report import Figure
    from ..models.explain.asking import Asked
    from ..models.likelihood.bits import Bits
    from ..models.train.pictures import Pictures

SOCKETS = 4
MOST = 1000  # pictures of a set that are compared
SHOWN, SHOWN_SIDE, IN_A_ROW = 16, 320, 5
LIKELY = 32  # pictures whose likelihood is measured
LEVELS, STEPS = 32, 20
EXACT_PARAMETERS = 20_000_000
PART = 16  # of them at once
LIKELIHOODS = ["bound", "bound and exact", "none"]
LOW = ("FD-", "KD-", "seconds", "parameters", "bits")  # where less is better
HIGH = ("precision", "recall", "density", "coverage", "diversity")


class Contender(NamedTuple):
    name: str
    model: Asked
    parameters: int


class Result(NamedTuple):
    """What was measured of a model; `bound` and `exact` are None where it has no such likelihood."""

    pictures: Tensor
    figures: list[Figure]
    kept: Memorisation | None
    seconds: float
    bound: Bits | None
    exact: Bits | None


class VarifoldCompareModels:
    DESCRIPTION = (
        "Lets several denoisers and generators draw what the held-out pictures say, and measures all of them by these: "
        "distances, precision, recall, diversity, memorisation, time, size, and bits per number where there is a "
        "likelihood."
    )
    SEARCH_ALIASES = ["benchmark", "evaluate models", "fid", "kid", "likelihood", "bits per dimension", "leaderboard"]
    CATEGORY = CATEGORY
    FUNCTION = "compare"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "table", "report")
    OUTPUT_TOOLTIPS = (
        "Pictures of each model, beside held-out ones.",
        "All measures, a column for each model; the last is what real pictures get.",
        "The same in text, with the numbers of pictures, and why a figure may be missing.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "pictures": (
                    "VARIFOLD_PICTURES",
                    {
                        "tooltip": "What the models learnt from; the pictures held out of it judge them. 20 and more, "
                        "of 206 on with the Fréchet distance."
                    },
                ),
                "names": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "A line for each model that is wired, denoisers first. Empty: what it is.",
                    },
                ),
                "count": ("INT", {"default": 256, "min": 2, "max": 1000, "tooltip": "How many pictures each draws."}),
                "steps": ("INT", {"default": 16, "min": 2, "max": 200, "tooltip": "Of denoisers, for each picture."}),
                "guidance": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.05,
                        "round": 0.01,
                        "tooltip": "How strongly words pull denoisers (cfg). 1: none, as likelihoods are measured.",
                    },
                ),
                "likelihood": (
                    LIKELIHOODS,
                    {
                        "tooltip": "Bits per number of held-out pictures of 8 bits. bound: of denoisers and VAEs, from "
                        "above. exact: of denoisers too, by the ODE; takes much longer."
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": False,
                        "tooltip": "Of the noise that pictures are made of, and of what is drawn by chance.",
                    },
                ),
            },
            "optional": {
                f"{kind}_{number}": (f"VARIFOLD_{kind.upper()}", {"tooltip": f"One of the {kind}s to compare."})
                for kind in ("denoiser", "generator")
                for number in range(1, SOCKETS + 1)
            },
        }

    def compare(
        self,
        pictures,
        names,
        count,
        steps,
        guidance,
        likelihood,
        seed,
        denoiser_1=None,
        denoiser_2=None,
        denoiser_3=None,
        denoiser_4=None,
        generator_1=None,
        generator_2=None,
        generator_3=None,
        generator_4=None,
    ):
        held = _held(pictures)
        denoisers = (denoiser_1, denoiser_2, denoiser_3, denoiser_4)
        generators = (generator_1, generator_2, generator_3, generator_4)
        contenders = _contenders(denoisers, generators, names, steps, guidance)
        for contender in contenders:
            check_fits(contender.model.model, pictures)
        judges = _Judges(pictures, held, count, likelihood, seed)
        bar = Bar(judges.units + sum(judges.units_of(contender) for contender in contenders))
        judges.describe(bar)
        results = [judges.judge(contender, bar) for contender in contenders]
        names = [contender.name for contender in contenders]
        lines = _lines(contenders, results)
        heads = ("measure", "real beside real")
        report = "\n".join([*table_text(names, lines, *heads), "", *judges.told(results)])
        grids = [_grid(judges.shown), *(_grid(result.pictures) for result in results)]
        sheet = draw_sheet(grids, ["held out", *names], columns=len(grids) if len(grids) <= IN_A_ROW else 0)
        table = image_out([draw_table(names, lines, *heads)])
        return {"ui": {"text": [report]}, "result": (image_out([sheet]), table, report)}


class _Judges:
    """The held-out pictures, in an order by chance, and how models are measured by them."""

    def __init__(self, pictures: Pictures, held: Pictures, count: int, likelihood: str, seed: int):
        random = np.random.default_rng(seed)
        self.pictures, self.held, self.count, self.likelihood, self.seed = pictures, held, count, likelihood, seed
        self.numbers = random.permutation(len(held))[:MOST].tolist()
        self.trained = sorted(random.permutation(len(pictures))[:MOST].tolist())
        self.units = sum(-(-len(numbers) // AT_ONCE) for numbers in (self.numbers, self.trained))

    @property
    def shown(self) -> Tensor:
        return self.held.rgb(self.numbers[:SHOWN])

    def describe(self, bar: Bar) -> None:
        self.real, self.known = (
            np.concatenate([described(source.rgb(part), bar) for part in _parts(numbers, AT_ONCE)])
            for source, numbers in ((self.held, self.numbers), (self.pictures, self.trained))
        )

    def measured(self, contender: Contender) -> tuple[bool, bool]:
        """Whether its likelihood is bounded, and whether it is found exactly."""
        model = contender.model.model
        if self.likelihood == "none" or getattr(model, "latents", None) is not None:
            return False, False
        if contender.model.at_once:
            return model.kind == "vae", False
        small = contender.parameters <= EXACT_PARAMETERS
        return True, self.likelihood == "bound and exact" and small

    def units_of(self, contender: Contender) -> int:
        bounded, exact = self.measured(contender)
        each = 1 if contender.model.at_once else LEVELS
        likely = -(-min(LIKELY, len(self.numbers)) // PART) * (bounded * each + exact * 4 * STEPS)
        return parts_of(contender.model, self.count) + -(-self.count // AT_ONCE) + likely

    def judge(self, contender: Contender, bar: Bar) -> Result:
        from ..dataset.measures.memorisation import LEAST, memorisation
        from ..dataset.measures.report import compare
        from ..models.sampling.noise import Noise

        model = contender.model
        load(model.model)
        seconds, made, shown = 0.0, [], None
        for which in _parts(range(self.count), AT_ONCE):
            cond = model.said(said_of(self.held, [self.numbers[k % len(self.numbers)] for k in which]))
            noise = Noise(self.seed, which, model.noise_shape)(0)
            began = time.perf_counter()
            drawn = colours(model, draw_all(model, noise, cond, bar))
            seconds += time.perf_counter() - began
            shown = drawn[:SHOWN] if shown is None else shown
            made.append(described(drawn, bar))
        made = np.concatenate(made)
        figures = compare(self.real, made, seed=self.seed)
        enough = min(len(self.known), len(self.real)) >= LEAST
        kept = memorisation(self.known, self.real, made, self.seed) if enough else None
        bounded, exact = self.measured(contender)
        return Result(
            shown,
            figures,
            kept,
            seconds / self.count,
            self._bits(model, self._bound, bar) if bounded else None,
            self._bits(model, self._exact, bar) if exact else None,
        )

    def _bits(self, model: Asked, measure: Callable[..., Bits], bar: Bar) -> Bits:
        import torch

        from ..models.likelihood.bits import Bits

        each = []
        for part in _parts(self.numbers[:LIKELY], PART):
            load(model.model)
            x0, texts = self.held.x0(part).to(model.model.device), said_of(self.held, part)
            each.append(measure(model, x0, texts, self.seed + len(each), bar).each)
        return Bits(torch.cat(each))

    @staticmethod
    def _bound(model: Asked, x0: Tensor, texts: list[str], seed: int, bar: Bar) -> Bits:
        from ..models.likelihood.bits import bound_bits, generator_bits

        if not model.at_once:
            return bound_bits(
                model.model,
                x0,
                model.said(texts),
                eight_bits=True,
                levels=LEVELS,
                seed=seed,
                wrap=lambda D: _counted(D, bar),
            )
        bits = generator_bits(model.model, x0, model.rows(texts), seed=seed)
        bar.tick()
        return bits

    @staticmethod
    def _exact(model: Asked, x0: Tensor, texts: list[str], seed: int, bar: Bar) -> Bits:
        from ..models.likelihood.bits import exact_bits

        return exact_bits(
            model.model,
            x0,
            model.said(texts),
            eight_bits=True,
            steps=STEPS,
            probes=1,
            seed=seed,
            wrap=lambda D: _counted(D, bar),
        )

    def told(self, results: Sequence[Result]) -> list[str]:
        """How many pictures of each kind, and what is missing."""
        lines = [
            f"{len(self.held)} held-out pictures, {len(self.pictures)} trained on; {self.count} drawn by each model, "
            "with the words of held-out ones where it knows them",
            f"distances, precision, recall and diversity: of {results[0].figures[0].samples} at a time, five times; "
            "compare only with figures of as many",
        ]
        lines += [f"  no {figure.name}: {figure.missing}" for figure in results[0].figures if figure.missing]
        if kept := next((result.kept for result in results if result.kept), None):
            lines.append(
                f"nearer to training: the share of drawn pictures nearer to one trained on than to one held out, "
                f"{kept.samples} of each; in brackets where it may lie if nothing is memorised. "
                "copies: as near to one trained on as 1 % of held-out ones are"
            )
        else:
            lines.append("memorisation: with 10 pictures held out and 10 trained on it can be told")
        for name, which in (("bound", "bits, bound"), ("exact", "bits, exact")):
            if found := next((bits for result in results if (bits := getattr(result, name))), None):
                lines.append(
                    f"{which}: per number of {len(found.each)} held-out pictures of 8 bits, ± the standard error; "
                    + (
                        "an upper bound"
                        if name == "bound"
                        else "by the probability-flow ODE, dequantised by the noise of the lowest level"
                    )
                )
        return lines


def _counted(D: Callable, bar: Bar) -> Callable:
    def counted(x: Tensor, sigma: float | Tensor) -> Tensor:
        bar.tick()
        return D(x, sigma)

    return counted


def _held(pictures: Pictures) -> Pictures:
    if pictures.held is None or len(pictures.held) < 4:
        count = 0 if pictures.held is None else len(pictures.held)
        raise ValueError(
            f"pictures: {count} are held out, and 4 are the least that tell: give Training Pictures a held-out share"
        )
    return pictures.held


def _contenders(denoisers: Sequence, generators: Sequence, names: str, steps: int, guidance: float) -> list[Contender]:
    """The models that are wired, each with its line of `names`, or else with what it is and its socket's number."""
    lines, contenders = [line.strip() for line in names.splitlines()], []
    for models in (denoisers, generators):
        for number, model in enumerate(models, 1):
            if model is None:
                continue
            model = asked(model, steps, guidance)
            said = lines[len(contenders)] if len(contenders) < len(lines) else ""
            name = said or f"{model.model.kind if model.at_once else 'denoiser'} {number}"
            contenders.append(Contender(name, model, sum(each.numel() for each in model.model.net.parameters())))
    if not contenders:
        raise ValueError("wire the denoisers and generators to compare, one at least")
    return contenders


def _lines(contenders: Sequence[Contender], results: Sequence[Result]) -> list[Line]:
    """The rows of the table."""
    lines = []
    for k, figure in enumerate(results[0].figures):
        own = [result.figures[k] for result in results]
        if figure.missing:
            continue
        texts = [f"{each.value:.3g} ± {each.value_spread:.1g}" for each in own]
        floor = f"{figure.floor:.3g} ± {figure.floor_spread:.1g}"
        lines.append(_line(figure.name, texts, [each.value for each in own], floor))
    if all(result.kept for result in results):
        kept = [result.kept for result in results]
        nearer = [f"{each.closer:.0%} ({each.low:.0%} to {each.high:.0%})" for each in kept]
        lines.append(_line("nearer to training", nearer, [], "50%"))
        lines.append(_line("copies", [f"{each.copies:.0%}" for each in kept], [], "1%"))
    seconds = [result.seconds for result in results]
    lines.append(_line("seconds a picture", [f"{each:.2g}" for each in seconds], seconds, ""))
    sizes = [contender.parameters for contender in contenders]
    lines.append(_line("parameters", [f"{size / 1e6:.2f} M" for size in sizes], sizes, ""))
    for name in ("bound", "exact"):
        bits = [getattr(result, name) for result in results]
        if any(bits):
            means = [each.mean if each else math.inf for each in bits]
            texts = [f"{each.mean:.3f} ± {each.error:.1g}" if each else "none" for each in bits]
            lines.append(_line(f"bits, {name}", texts, means, ""))
    return lines


def _line(name: str, texts: Sequence[str], values: Sequence[float], floor: str) -> Line:
    """A row; the best is told of two and more that differ."""
    choose = min if name.startswith(LOW) else max if name in HIGH else None
    told = {value for value in values if math.isfinite(value)}
    best = values.index(choose(told)) if choose and len(told) > 1 else None
    return Line(name, tuple(texts), best, floor)


def _parts(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


def _grid(pictures: Tensor) -> Image.Image:
    """Up to 16 pictures [N, H, W, 3 or 4] as one, four in a row."""
    import torch

    count, high, wide, channels = pictures.shape
    grid = torch.zeros(SHOWN, high, wide, 4)
    grid[:count, ..., 3] = 1
    grid[:count, ..., :channels] = pictures
    side = math.isqrt(SHOWN)
    whole = grid.view(side, side, high, wide, 4).transpose(1, 2).reshape(1, side * high, side * wide, 4)
    return cells(whole[..., :3], 1 - whole[..., 3], max(1, round(SHOWN_SIDE / (side * max(high, wide)))))[0]
