"""Trains the embedded denoiser from the pictures beside the weights.

    python -m varifold.models.pixel_art.train runs/pixel_art --images 2000000 --compile

The folder gets the state to go on from (state.safetensors: the same command takes it up), the denoiser so far
(pixel_art.safetensors), the loss (loss.csv) and a sheet of samples at each save.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from ..checkpoint import load_denoiser
from ..checkpoint.load import save_denoiser
from ..checkpoint.spec import Spec
from ..denoising.precondition import edm
from ..nets.unet import UNet, UNetConfig
from ..train.chance import sharing
from ..train.denoising import Denoising
from ..train.loop import Loop, StateError
from ..train.settings import Settings
from .batches import PixelArt
from .prompts import SHEET
from .sheets import SHOWN, draw, sheet

CONFIG = {"in_channels": 4, "patch": 2, "width": 48, "multipliers": [1, 2, 3], "blocks": 1, "attention_levels": [1]}
SIGMA_DATA = 0.65


def spec(words: tuple[str, ...]) -> Spec:
    return Spec(
        architecture="unet",
        config={**CONFIG, "vocabulary": len(words)},
        prediction="edm",
        shape=(4, 32, 32),
        sigma_min=0.002,
        sigma_max=80.0,
        sigma_data=SIGMA_DATA,
        vocabulary=words,
        title="Varifold pixel art",
        licence="CC0-1.0",
        trained_on="CC0 tiles of Dungeon Crawl Stone Soup, and heroes composed of its player layers",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train", description="Train the embedded denoiser; go on if there is a state."
    )
    parser.add_argument("folder", type=Path, help="where the state, the denoiser and the sheets go")
    parser.add_argument("--images", type=int, default=2_000_000, help="pictures to see in all (default %(default)s)")
    parser.add_argument("--rate", type=float, default=Settings.rate, help="highest learning rate (default %(default)s)")
    parser.add_argument("--start", type=Path, help="a denoiser of the same words to start from, instead of chance")
    parser.add_argument("--save-every", type=int, default=100_000, help="pictures (default %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile the net: faster, needs a C++ compiler on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)

    pictures = PixelArt("train")
    about = spec(pictures.words)
    torch.manual_seed(0)
    net = UNet(UNetConfig(**about.config))
    if options.start:
        net.load_state_dict(load_denoiser(options.start).net.state_dict())
    settings = Settings(images=options.images, rate=options.rate)
    net = net.to(options.device)
    learning = Denoising(net, edm(SIGMA_DATA), compiled=options.compile)
    training = Loop({"denoiser": learning}, net, sharing(pictures.batch), settings)
    options.folder.mkdir(parents=True, exist_ok=True)
    state = options.folder / "state.safetensors"
    try:
        if state.exists():
            training.load(state)
    except StateError as error:
        print(error, file=sys.stderr)
        return 1
    _train(training, about, options.folder, max(1, options.save_every // settings.batch))
    return 0


def _train(training: Loop, about: Spec, folder: Path, save_every: int) -> None:
    batch, report_every = training.settings.batch, 100
    losses, since = [], time.perf_counter()
    for loss in training.steps():
        losses.append(loss)
        last = training.step == training.settings.steps
        if len(losses) == report_every or last:
            mean, seconds = torch.stack(losses).mean().item(), time.perf_counter() - since
            line = f"{training.step * batch},{mean:.4f},{len(losses) * batch / seconds:.0f}"
            with open(folder / "loss.csv", "a", encoding="utf-8") as file:
                file.write(line + "\n")
            print("{} pictures, loss {}, {} a second".format(*line.split(",")), flush=True)
            losses, since = [], time.perf_counter()
        if training.step % save_every == 0 or last:
            training.save(folder / "state.safetensors")
            save_denoiser(folder / "pixel_art.safetensors", training.averages[0], about)
            rgba = draw(load_denoiser(folder / "pixel_art.safetensors"), SHEET, SHOWN)
            sheet(rgba, len(SHOWN)).save(folder / f"sheet_{training.step * batch:08d}.png")
            since = time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())
