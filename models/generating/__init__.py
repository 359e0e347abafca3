"""Generators: nets that make a picture of noise at once, a VAE, an autoencoder or a GAN."""

from .file import load_generator, save_generator
from .generator import Generator
from .report import report
from .spec import GeneratorSpec

__all__ = ["Generator", "GeneratorSpec", "load_generator", "report", "save_generator"]
