"""From a file to a Denoiser, and back."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..denoising.denoiser import Denoiser
from ..denoising.precondition import PRECONDITIONS, Precondition
from ..denoising.vocabulary import Vocabulary
from .errors import CheckpointError
from .file import identity
from .inspect import Checkpoint, inspect
from .spec import KEY, Spec

DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


# ComfyUI calls nodes in inference mode, and tensors made there could never be trained or patched.
@torch.inference_mode(False)
def load_denoiser(
    path: str | os.PathLike | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    prediction: str = "auto",
) -> Denoiser:
    """The denoiser in a .safetensors file; without a path the embedded one, which draws pixel art.

    `dtype` is what the net computes in: float16, bfloat16, float32 (the default) or float64, whatever the file holds.
    `prediction` "auto" believes the file; "edm", "eps", "v", "x0" or "flow" overrule it. Raises CheckpointError.
    """
    dtype = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    if dtype not in DTYPES.values():
        raise CheckpointError(f"a denoiser computes in {', '.join(DTYPES)}; not in {dtype}")
    checkpoint = inspect(path)
    spec = chosen_spec(checkpoint, prediction)
    net = checkpoint.net
    net.load_state_dict(_weights(checkpoint, dtype, torch.device(device)), assign=True)
    net.eval().requires_grad_(False)
    return Denoiser(
        net,
        precondition(spec),
        shape=spec.shape,
        sigma_min=spec.sigma_min,
        sigma_max=spec.sigma_max,
        vocabulary=Vocabulary(spec.vocabulary) if spec.vocabulary else None,
        spec=spec,
        identity=identity(checkpoint.path),
    )


def chosen_spec(checkpoint: Checkpoint, prediction: str) -> Spec:
    """The file's Spec, with the prediction that the user names instead of the file's unless that is "auto"."""
    spec = checkpoint.match.spec
    if prediction == "auto":
        return spec
    space = PRECONDITIONS[prediction]().space.name if prediction in PRECONDITIONS else spec.space
    if space != spec.space:
        raise CheckpointError(
            f"{checkpoint.path} cannot be read as {prediction!r}: its noise levels, {spec.sigma_min:g} to "
            f"{spec.sigma_max:g}, are of {spec.space} space, and {prediction} lives in {space} space"
        )
    try:
        return replace(spec, prediction=prediction)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path} cannot be read as {prediction!r}: {error}") from None


def precondition(spec: Spec) -> Precondition:
    """The Precondition that a Spec names."""
    make = PRECONDITIONS[spec.prediction]
    return make(spec.sigma_data) if spec.prediction == "edm" else make()


def _weights(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    weights = {}
    try:
        with safe_open(checkpoint.path, framework="pt") as file:
            for name, key in checkpoint.keys.items():
                tensor = file.get_tensor(key)
                layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
                # A copy even where the dtype fits: the file's own tensors are its mapped pages, and files change.
                weights[name] = tensor.to(device, dtype, copy=True, memory_format=layout)
                if not weights[name].isfinite().all():
                    raise CheckpointError(
                        f"{checkpoint.path}: tensor {key} has NaN or infinity in {dtype}: try float32, or another file"
                    )
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{checkpoint.path} cannot be read ({error}): download or save it again") from None
    return weights


def save_denoiser(
    path: str | os.PathLike, net: nn.Module, spec: Spec, dtype: torch.dtype | None = torch.float16
) -> None:
    """Writes a net and its Spec as a Varifold checkpoint; a file already there stays whole until the new one is.

    Raises CheckpointError if net and spec do not belong together, or the weights do not fit into `dtype`.
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
        save_file(tensors, part, metadata={"format": "pt", KEY: spec.to_json()})
        part.chmod(mode)  # save_file leaves a file for this user alone
        inspect(part)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} was not written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
