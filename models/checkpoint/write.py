"""A net written as a .safetensors file that is whole, or not there."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from .errors import CheckpointError


def write(
    path: str | os.PathLike,
    net: nn.Module,
    metadata: Mapping[str, str],
    dtype: torch.dtype | None,
    check: Callable[[Path], object],
) -> None:
    """Writes a net's tensors in `dtype`; a file already there stays whole until the new one has passed `check`.

    Raises CheckpointError, also where the weights do not fit into `dtype`.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in net.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path} was not written: tensor {name} has NaN or infinity in {tensor.dtype}")
    try:
        part.touch()
        mode = part.stat().st_mode
        save_file(tensors, part, metadata={"format": "pt", **metadata})
        part.chmod(mode)  # save_file leaves a file for this user alone
        check(part)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} was not written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
