"""Train Autoencoder and Train GAN: what draws a picture of noise at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import training
from .host import current

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.train.learner import Learner
    from ..models.train.pictures import Pictures

SIZES = ["tiny", "small", "medium", "large", "huge"]
KINDS = ["vae", "plain"]
SIZE = (SIZES, {"default": "small", "tooltip": "Of the net: wider ones learn more, and slower."})
OUTPUTS = ("VARIFOLD_GENERATOR", *training.OUTPUTS)
OUTPUT_NAMES = ("generator", *training.OUTPUT_NAMES)


class VarifoldTrainAutoencoder:
    DESCRIPTION = (
        "Trains a net that makes pictures small and the same again of that. A VAE can also draw new ones: its small "
        "pictures are like noise."
    )
    SEARCH_ALIASES = ["train vae", "variational autoencoder", "autoencoder", "training", "learn"]
    CATEGORY = training.CATEGORY
    FUNCTION = "train"
    OUTPUT_NODE = True
    TRAINS = True
    RETURN_TYPES = OUTPUTS
    RETURN_NAMES = OUTPUT_NAMES
    OUTPUT_TOOLTIPS = ("The autoencoder as a generator, for Generate and Explain.", *training.OUTPUT_TOOLTIPS)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "pictures": training.PICTURES,
                "name": training.name_input("my_vae"),
                "kind": (
                    KINDS,
                    {
                        "tooltip": "vae: a variational one, which draws new pictures and has a likelihood; plain: "
                        "one that only has to give pictures back, sharper, and draws worse."
                    },
                ),
                "size": SIZE,
                "latent_side": (
                    "INT",
                    {
                        "default": 2,
                        "min": 1,
                        "max": 64,
                        "tooltip": "Of the small picture, in pixels. Larger: truer to each picture, new ones hang "
                        "together less.",
                    },
                ),
                "latent_channels": (
                    "INT",
                    {"default": 0, "min": 0, "max": 256, "tooltip": "Numbers at each of its pixels. 0: what suits."},
                ),
                "beta": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.1,
                        "round": 0.001,
                        "tooltip": "Of a VAE: how much it must be like noise. 1 is the likelihood's own; below 1 is "
                        "sharper, above 1 has simpler axes.",
                    },
                ),
                **training.run_inputs(100_000, 0.002),
            }
        }

    def train(
        self, pictures, name, kind, size, latent_side, latent_channels, beta, images, batch, rate, precision, seed
    ):
        from ..models.train.autoencoding import AutoencoderLearner, autoencoder_from_scratch

        folder = training.folder_of(name)
        with training.learning():
            net, spec = autoencoder_from_scratch(
                pictures.shape,
                pictures.channels,
                pictures.words,
                size,
                variational=kind == "vae",
                latent_side=latent_side,
                latent_channels=latent_channels,
                seed=seed,
                **training.about(name, pictures),
            )
            learner = AutoencoderLearner(net, spec, pictures.draw, beta=beta, pictures=pictures.identity)
        run = training.Run(images, batch, rate, precision, seed)
        return _trained(learner, pictures, folder, run)


class VarifoldTrainGAN:
    DESCRIPTION = (
        "Trains two nets against one another: one draws, the other tells drawn pictures from real ones. Fast to draw "
        "with, and less sure to train than a denoiser."
    )
    SEARCH_ALIASES = ["train gan", "generative adversarial network", "training", "learn"]
    CATEGORY = training.CATEGORY
    FUNCTION = "train"
    OUTPUT_NODE = True
    TRAINS = True
    RETURN_TYPES = OUTPUTS
    RETURN_NAMES = OUTPUT_NAMES
    OUTPUT_TOOLTIPS = ("The net that draws, for Generate and Explain.", *training.OUTPUT_TOOLTIPS)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "pictures": training.PICTURES,
                "name": training.name_input("my_gan"),
                "size": SIZE,
                "gamma": (
                    "FLOAT",
                    {
                        "default": 0.3,
                        "min": 0.0,
                        "max": 1000.0,
                        "step": 0.1,
                        "round": 0.001,
                        "tooltip": "R1: how steep the judge may be at real pictures. Higher is steadier and slower; "
                        "0 tends to break.",
                    },
                ),
                **training.run_inputs(100_000, 0.002),
            }
        }

    def train(self, pictures, name, size, gamma, images, batch, rate, precision, seed):
        from ..models.train.adversarial import BETAS, GANLearner, gan_from_scratch

        folder = training.folder_of(name)
        with training.learning():
            about = {"seed": seed, **training.about(name, pictures)}
            net, judge, spec = gan_from_scratch(pictures.shape, pictures.channels, pictures.words, size, **about)
            learner = GANLearner(net, judge, spec, gamma=gamma, pictures=pictures.identity)
        run = training.Run(images, batch, rate, precision, seed)
        return _trained(learner, pictures, folder, run, betas=BETAS)


def _trained(learner: Learner, pictures: Pictures, folder: Path, run: training.Run, **settings: object) -> dict:
    from ..models.generating import load_generator

    done = training.trained(learner, pictures, folder, run, **settings)
    generator = load_generator(done.model)
    current().adopt(generator)
    report, curve, samples = training.told(done)
    return {"ui": {"text": [report]}, "result": (generator, report, curve, samples)}
