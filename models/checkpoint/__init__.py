"""Checkpoints: a .safetensors file becomes a Denoiser, and says what it is."""

from .autoencoder import load_autoencoder
from .errors import CheckpointError
from .file import fingerprint, identity
from .header import Header, TensorInfo, read_header
from .inspect import inspect
from .load import load_denoiser, natural_dtype, save_denoiser
from .lora import with_lora
from .report import report
from .spec import Spec

__all__ = [
    "CheckpointError",
    "Header",
    "Spec",
    "TensorInfo",
    "fingerprint",
    "identity",
    "inspect",
    "load_autoencoder",
    "load_denoiser",
    "natural_dtype",
    "read_header",
    "report",
    "save_denoiser",
    "with_lora",
]
