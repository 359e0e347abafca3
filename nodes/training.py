"""What the nodes that train share: their widgets, and a training in a folder with bar, preview and cancel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .drawing import image_out
from .host import current
from .inside import inside

if TYPE_CHECKING:
    from ..models.train.learner import Learner
    from ..models.train.pictures import Pictures
    from ..models.train.run import Live, Trained

FOLDER = "training"
CATEGORY = "Varifold/training"
PRECISIONS = ["auto", "float32", "bfloat16", "float16"]
PICTURES = ("VARIFOLD_PICTURES", {"tooltip": "What it learns from, and the held-out ones that judge it."})
WARM_UP = 0.05  # of the steps
MOST_WARM_UP = 150
OUTPUTS = ("STRING", "IMAGE", "IMAGE")
OUTPUT_NAMES = ("report", "curve", "samples")
OUTPUT_TOOLTIPS = (
    "How it went: pictures seen, losses, what was kept, and where the file is.",
    "The losses over the pictures seen.",
    "What it makes, always from the same seeds.",
)


class Run(NamedTuple):
    """The values of `run_inputs`."""

    images: int
    batch: int
    rate: float
    precision: str
    seed: int


def name_input(default: str) -> tuple:
    return (
        "STRING",
        {
            "default": default,
            "tooltip": f"Its folder in output/{FOLDER}. A training that was left there goes on; a new name begins one.",
        },
    )


def run_inputs(images: int, rate: float) -> dict[str, tuple]:
    """How long and how fast: the last widgets of each of the nodes."""
    return {
        "images": (
            "INT",
            {
                "default": images,
                "min": 64,
                "max": 1_000_000_000,
                "tooltip": "How many pictures it sees in all. May be raised later: the training then goes on.",
            },
        ),
        "batch": ("INT", {"default": 64, "min": 2, "max": 4096, "tooltip": "Pictures a step."}),
        "rate": (
            "FLOAT",
            {
                "default": rate,
                "min": 0.00001,
                "max": 0.1,
                "step": 0.0001,
                "round": 0.00001,
                "tooltip": "The highest learning rate. It rises at first and falls to 0 over the last half.",
            },
        ),
        "precision": (
            PRECISIONS,
            {"tooltip": "Of the net's sums; weights are kept in float32. auto: bfloat16 on a GPU that has it."},
        ),
        "seed": (
            "INT",
            {
                "default": 0,
                "min": 0,
                "max": 0xFFFFFFFF,
                "control_after_generate": False,
                "tooltip": "Of the first weights, and of the order and noise of the training.",
            },
        ),
    }


@contextmanager
def learning() -> Iterator[None]:
    """ComfyUI's nodes run in inference mode, in which nothing can be trained."""
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield


def about(name: str, pictures: Pictures) -> dict[str, str]:
    """What a checkpoint says of itself."""
    return {"title": name, "trained_on": f"{len(pictures)} pictures"}


def trained(learner: Learner, pictures: Pictures, folder: Path, run: Run, **settings: Any) -> Trained:
    """Trains in the folder; `settings` is what is not usual."""
    from ..models.train import ranks
    from ..models.train.run import train
    from ..models.train.settings import Settings

    host = current()
    steps = -(-run.images // run.batch)
    warmup = min(MOST_WARM_UP, round(WARM_UP * steps))
    asked = {"images": run.images, "batch": run.batch, "rate": run.rate, "seed": run.seed}
    progress, shown = host.progress(steps), None

    def watch(live: Live) -> None:
        nonlocal shown
        host.check_cancelled()
        fresh = live.picture if live.picture is not shown else None
        shown = live.picture
        progress.update(live.done, fresh, live.told)

    for player in learner.players.values():
        player.to(host.device())
    held = pictures.held
    with learning():
        return train(
            learner,
            pictures.draw,
            Settings(warmup=warmup, **asked, **settings),
            folder,
            held=held and held.draw,
            watch=watch,
            precision=precision_of(run.precision, host.device()),
            ranks=ranks.here(),
        )


def precision_of(chosen: str, device: Any) -> str:
    """What "auto" means on a device."""
    import torch

    if chosen != "auto":
        return chosen
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "float32"


def folder_of(name: str) -> Path:
    """The folder of a training. Raises ValueError for a name that leads elsewhere."""
    return inside(current().output_folder(), f"{FOLDER}/{name.strip()}")


def told(done: Trained) -> tuple:
    """Report, curve and samples, as the nodes give them."""
    return f"{done.report}\n{done.model}", image_out([done.picture]), done.samples[..., :3].float().cpu()


def trained_files(family: str) -> dict[str, str]:
    """What was trained here, for a menu: name shown -> path."""
    try:
        root = current().output_folder() / FOLDER
    except RuntimeError:  # no host, or one that has no folders before it runs something
        return {}
    inner = root.resolve()
    return {
        f"{FOLDER}/{path.parent.relative_to(root).as_posix()}": str(path)
        for path in sorted(root.rglob(f"{family}.safetensors"))
        if path.is_file() and path.resolve().is_relative_to(inner)
    }
