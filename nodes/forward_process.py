"""Forward Process: pictures destroyed step by step, by noise and by other means, and made whole by a net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import training, wires
from .drawing import cells, draw_sheet, image_out
from .host import current

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.teaching.learn import Undoer
    from ..models.teaching.processes import Process
    from ..models.train.pictures import Pictures

NAMES = ["gaussian noise", "gamma noise", "blur", "pixelation", "masking"]
MOST, SIDE = 4, 256
BATCH, RATE = 64, 0.002
LOOKED_AT = 50  # steps


class VarifoldForwardProcess:
    DESCRIPTION = (
        "Destroys pictures step by step: by Gaussian or gamma noise, blur, pixelation, or a growing hole. With "
        "training pictures it also trains a small net to undo that, and shows it undone."
    )
    SEARCH_ALIASES = ["cold diffusion", "diffusion process", "degrade", "blur", "teaching", "inverse heat dissipation"]
    CATEGORY = training.CATEGORY
    FUNCTION = "show"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "frames", "report")
    OUTPUT_TOOLTIPS = (
        "A row for each picture destroyed, left to right, and under it one for the same undone, right to left.",
        "The first picture as a batch: destroyed, and then undone.",
        "How far it is from the picture at each time, and what the net has learned.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "What is destroyed: up to 4 pictures, shrunk to 256 pixels a side."}),
                "process": (
                    NAMES,
                    {
                        "tooltip": "gaussian noise: the usual one. gamma noise: of the same mean and variance, in "
                        "grains. blur: heat that spreads. pixelation: ever larger squares. masking: a growing hole."
                    },
                ),
                "steps": ("INT", {"default": 8, "min": 1, "max": 64, "tooltip": "From the picture to the last time."}),
                "until": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.05,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "The last time. 1: nothing of the picture is left, and so none of it comes back.",
                    },
                ),
                "images_seen": (
                    "INT",
                    {
                        "default": 20_000,
                        "min": 64,
                        "max": 10_000_000,
                        "tooltip": "How many pictures the net sees in its training, if pictures are wired.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFF,
                        "control_after_generate": False,
                        "tooltip": "Of the noise, of where the hole begins, and of the training.",
                    },
                ),
            },
            "optional": {
                "pictures": (
                    "VARIFOLD_PICTURES",
                    {"tooltip": "What a small net learns to undo it from. The images are then made of their size."},
                ),
            },
        }

    def show(self, images, process, steps, until, images_seen, seed, pictures=None):
        import torch

        from ..models.sampling.noise import Noise
        from ..models.teaching.processes import PROCESSES

        degrade, x0 = PROCESSES[process].degrade, _taken(images[:MOST], pictures)
        noise = Noise(seed, range(len(x0)), x0.shape[1:])(0)
        times = [until * step / steps for step in range(steps + 1)]
        rows, told = [[degrade(x0, t, noise) for t in times]], []
        if pictures is not None:
            with training.learning():
                back, told = _undone(
                    PROCESSES[process], rows[0][-1].clone(), noise.clone(), times, pictures, images_seen, seed
                )
            rows.append(back[::-1])
        channels = "rgb" if pictures is None else pictures.channels
        told = [*_distances(times, rows, x0), *told]
        report = "\n".join([f"{process}, root mean square distance from the picture, in -1..1:", *told])
        shown = torch.stack([torch.stack(row, 1) for row in rows], 1)  # [pictures, rows, times, C, H, W]
        labels = [f"{name}t {t:.3g}" for name in ("", "undone, ")[: len(rows)] for t in times]
        sheet = draw_sheet(_cells(shown.flatten(0, 2), channels), labels * len(x0), columns=len(times))
        way = [rows[0], *(row[::-1] for row in rows[1:])]
        frames = _cells(torch.cat([torch.stack(row)[:, 0] for row in way]), channels)
        return {"ui": {"text": [report]}, "result": (image_out([sheet]), image_out(frames), report)}


def _taken(images: Tensor, pictures: Pictures | None) -> Tensor:
    """IMAGE as x0 [B, C, H, W], of the training pictures' size and channels, or of its own, if not too large."""
    import torch
    from torch.nn.functional import interpolate

    from ..models.denoising.pixels import encode

    rgb, alpha = wires.image_in(images)
    whole = torch.cat([rgb, alpha[..., None]], -1).movedim(-1, 1)
    high, wide = whole.shape[-2:]
    share = min(1.0, SIDE / max(high, wide))
    size = (max(1, round(high * share)), max(1, round(wide * share))) if pictures is None else pictures.shape[1:]
    whole = whole if tuple(size) == (high, wide) else interpolate(whole, tuple(size), mode="area")
    whole = whole.movedim(1, -1)
    return encode(whole[..., :3], whole[..., 3], "rgb" if pictures is None else pictures.channels)


def _undone(
    process: Process, x: Tensor, noise: Tensor, times: list[float], pictures: Pictures, images_seen: int, seed: int
) -> tuple[list[Tensor], list[str]]:
    """`x` of the last of the times, and what a net fresh from its training makes of it back to the first."""
    import torch

    from ..models.teaching.undo import undo

    undoer, told = _learned(process, pictures, images_seen, seed)
    with torch.no_grad():
        x, noise = (each.to(current().device()) for each in (x, noise))
        back = [x, *undo(undoer.predict, process, x, times[::-1], noise)]
    return [each.cpu() for each in back], told


def _learned(process: Process, pictures: Pictures, images_seen: int, seed: int) -> tuple[Undoer, list[str]]:
    """A net trained to undo the process, and lines about it."""
    import torch

    from ..models.teaching.learn import Undoer, undoer
    from ..models.train.loop import Loop
    from ..models.train.settings import Settings

    host = current()
    player = undoer(process, pictures.shape, seed).to(host.device())
    steps = -(-images_seen // BATCH)
    warmup = min(training.MOST_WARM_UP, round(training.WARM_UP * steps))
    settings = Settings(images=images_seen, batch=BATCH, rate=RATE, warmup=warmup, seed=seed)
    loop = Loop({"loss": player}, player.net, pictures.draw, settings, precision="float32")
    progress, losses = host.progress(steps), []
    for loss in loop.steps():
        host.check_cancelled()
        losses.append(loss)
        note = f"loss {loss.item():.4f}" if loop.step % LOOKED_AT == 0 else ""
        progress.update(loop.step, note=note)
    ends = max(1, len(losses) // 10)
    first, last = (torch.stack(part).mean().item() for part in (losses[:ends], losses[-ends:]))
    size = sum(each.numel() for each in player.parameters())
    told = [
        f"a net of {size / 1e6:.2f} M parameters saw {images_seen} pictures",
        f"its mean absolute error: {first:.4f} over the first tenth, {last:.4f} over the last",
    ]
    return Undoer(loop.averages[-1], process).eval(), told


def _distances(times: list[float], rows: list[list[Tensor]], x0: Tensor) -> list[str]:
    lines = []
    for k, t in enumerate(times):
        apart = [(row[k] - x0).square().mean().sqrt().item() for row in rows]
        lines.append(f"  t {t:.3g}: {apart[0]:.3f}" + (f", undone {apart[1]:.3f}" if len(apart) > 1 else ""))
    return lines


def _cells(x: Tensor, channels: str) -> list:
    from ..models.denoising.pixels import decode

    rgb, alpha = decode(x, channels)
    return cells(rgb, 1 - alpha, 0)
