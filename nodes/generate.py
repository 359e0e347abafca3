"""Nodes around generators, a VAE, an autoencoder or a GAN: load one, draw with one, or with a denoiser just so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .conditions import conditioning_out, vocabulary_of
from .host import current, find
from .menu import path_on
from .model import ModelDenoiser
from .order import Order
from .preview import preview
from .training import trained_files

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser
    from ..models.generating import Generator

NONE = "none"
FAMILIES = ("vae", "autoencoder", "gan")
FOLDERS = "model folders"
SOLVER = "dpmpp_2m"
AT_ONCE = 64  # pictures


def _files() -> dict[str, str | None]:
    """Name shown -> path; None is no file."""
    host = find()
    trained = {name: path for family in FAMILIES for name, path in trained_files(family).items()}
    return {NONE: None, **(host.denoiser_files() if host else {}), **trained}


class VarifoldLoadGenerator:
    DESCRIPTION = "Loads a generator, a VAE, an autoencoder or a GAN, that Train Autoencoder or Train GAN has made."
    SEARCH_ALIASES = ["load gan", "load vae", "load autoencoder", "generator", "checkpoint loader"]
    CATEGORY = "Varifold"
    FUNCTION = "load"
    RETURN_TYPES = ("VARIFOLD_GENERATOR", "STRING")
    RETURN_NAMES = ("generator", "report")
    OUTPUT_TOOLTIPS = (
        "The generator, for Generate.",
        "What the file is: its kind, its words, the size of its pictures, its licence.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "file": (
                    list(_files()),
                    {
                        "tooltip": "What was trained here, or a .safetensors file of the model folders. "
                        "Denoisers are for Load Denoiser."
                    },
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, file):
        from ..models.checkpoint import fingerprint

        path = path_on(_files(), file, FOLDERS)
        return "" if path is None else fingerprint(path)

    def load(self, file):
        from ..models.generating import load_generator, report

        path = path_on(_files(), file, FOLDERS)
        if path is None:
            raise ValueError("file: choose a generator; Train Autoencoder and Train GAN make some")
        generator = load_generator(path)
        current().adopt(generator)
        return generator, report(generator)


class VarifoldGenerate:
    DESCRIPTION = (
        "Draws pictures with a generator, a VAE, an autoencoder or a GAN; or with a denoiser at the usual settings, "
        "so that all of them stand side by side."
    )
    SEARCH_ALIASES = ["gan", "vae", "autoencoder", "draw", "generate", "sample"]
    CATEGORY = "Varifold"
    FUNCTION = "generate"
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "mask", "report")
    OUTPUT_TOOLTIPS = (
        "The pictures, straight colours; what is transparent is black.",
        "What is transparent: 1 − alpha, zeros if opaque. JoinImageWithAlpha with this gives the sprite.",
        "What was drawn, in what time, and how the words were read.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "words": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "What to draw, in words that it knows, or a label; empty: anything.",
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
                "batch": ("INT", {"default": 16, "min": 1, "max": 4096, "tooltip": "How many pictures."}),
                "steps": (
                    "INT",
                    {
                        "default": 16,
                        "min": 1,
                        "max": 1000,
                        "tooltip": "Of a denoiser, which takes them with dpmpp_2m; a generator needs none.",
                    },
                ),
                "guidance": (
                    "FLOAT",
                    {
                        "default": 1.5,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.05,
                        "round": 0.01,
                        "tooltip": "How strongly the words pull a denoiser (cfg). 1: no guidance, half the work.",
                    },
                ),
            },
            "optional": {
                "generator": (
                    "VARIFOLD_GENERATOR",
                    {"tooltip": "What draws: a trained one, or Load Generator's. Wire this or denoiser."},
                ),
                "denoiser": (
                    "VARIFOLD_DENOISER",
                    {"tooltip": "What draws, in place of a generator. For all its settings take Sampler."},
                ),
            },
        }

    def generate(self, words, seed, batch, steps, guidance, generator=None, denoiser=None):
        if (generator is None) == (denoiser is None):
            raise ValueError("wire either a generator or a denoiser: it draws with one of them")
        began = time.perf_counter()
        if generator is not None:
            rgb, alpha, notes = _generated(generator, words, seed, batch)
        else:
            rgb, alpha, notes = _denoised(denoiser, words, seed, batch, steps, guidance)
        seconds = time.perf_counter() - began
        report = "\n".join([_drawn(rgb, seconds), *notes])
        return {"ui": {"text": [report]}, "result": (rgb, 1 - alpha, report)}


def _generated(generator: Generator, words: str, seed: int, batch: int) -> tuple[Tensor, Tensor, list[str]]:
    """Colours, alpha, and notes. Raises ValueError for words where it knows none."""
    import torch

    from ..models.sampling.noise import Noise

    cond, notes, host = None, [], current()
    if words.strip():
        if generator.vocabulary is None:
            raise ValueError("this generator knows no words: leave words empty")
        host.load(generator)
        cond, notes = generator.read(words)
    progress, drawn = host.progress(batch), []
    for first in range(0, batch, AT_ONCE):
        host.check_cancelled()
        host.load(generator)
        indices = range(first, min(first + AT_ONCE, batch))
        noise = Noise(seed, indices, generator.noise_shape, generator.device)(0)
        drawn.append(generator.pictures(generator.draw(noise, cond).cpu()))
        progress.update(indices.stop, preview(drawn[-1][0][:16]) if progress.wants_preview else None)
    rgb, alpha = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    return rgb, alpha, [f"{generator.kind}, one pass of its net", *notes]


def _denoised(
    denoiser: Denoiser, words: str, seed: int, batch: int, steps: int, guidance: float
) -> tuple[Tensor, Tensor, list[str]]:
    """The same. Raises ValueError for what needs Sampler, and for words where it knows none."""
    from ..models.sampling.solver import plan
    from ..models.train.denoiser import usual_schedule
    from .draw_net import draw_with_net

    if isinstance(denoiser, ModelDenoiser) or "tokens" in denoiser.conditions:
        raise ValueError("this denoiser reads a text encoder's prompts: draw with Sampler and CLIPTextEncode")
    positive, notes = None, []
    if words.strip():
        if denoiser.vocabulary is None and denoiser.labels is None:
            raise ValueError("this denoiser knows no words: leave words empty")
        cond, notes = denoiser.read(words)
        positive = conditioning_out(cond, vocabulary_of(denoiser), [])
    table = plan(SOLVER, usual_schedule(denoiser, steps), denoiser.space)
    nothing = dict.fromkeys(("negative", "image", "mask", "latent", "vae", "noise"))
    order = Order(table, guidance, seed, batch, width=0, height=0, positive=positive, **nothing)
    drawn = draw_with_net(denoiser, order)
    told = f"denoiser, {table.steps} steps of {SOLVER}, guidance {guidance:g}"
    return drawn.rgb, drawn.alpha, [told, *notes, *drawn.notes]


def _drawn(rgb: Tensor, seconds: float) -> str:
    batch, height, width, _ = rgb.shape
    return f"{batch} picture{'s' if batch > 1 else ''} of {width}×{height} in {seconds:.2f} s"
