"""Checkpoints: a .safetensors file becomes a Denoiser, and says what it is."""

from .errors import CheckpointError
from .file import identity
from .header import Header, TensorInfo, read_header
from .inspect import inspect
from .load import load_denoiser, save_denoiser
from .report import report
from .spec import Spec

__all__ = [
    "CheckpointError",
    "Header",
    "Spec",
    "TensorInfo",
    "identity",
    "inspect",
    "load_denoiser",
    "read_header",
    "report",
    "save_denoiser",
]
