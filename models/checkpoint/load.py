"""From a file to a Denoiser, and back."""

import math
import os
from collections import Counter
from dataclasses import replace

import torch
from torch import nn

from ..denoising.autoencoder import Autoencoder
from ..denoising.denoiser import Denoiser
from ..denoising.latents import LATENTS
from ..denoising.precondition import PRECONDITIONS, Precondition
from ..denoising.timesteps import nearest
from ..denoising.vocabulary import Vocabulary
from .autoencoder import load_autoencoder
from .errors import CheckpointError
from .file import identity_later
from .inspect import Checkpoint, inspect
from .spec import KEY, Spec
from .unfilled import unfilled
from .weights import DTYPES, fill
from .write import write

SMALL = 100_000_000  # parameters


# ComfyUI calls nodes in inference mode, and tensors made there could never be trained or patched.
@torch.inference_mode(False)
def load_denoiser(
    path: str | os.PathLike | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    prediction: str = "auto",
    autoencoder: str | os.PathLike | None = None,
) -> Denoiser:
    """The denoiser in a .safetensors file; without a path the embedded one, which draws pixel art.

    `dtype` is what the net computes in: float16, bfloat16, float32 (the default) or float64, whatever the file holds.
    `prediction` "auto" believes the file; "edm", "eps", "v", "x0" or "flow" overrule it.
    A denoiser of latents brings the autoencoder of its file, or that of another `autoencoder` file: its latents become
    pictures by it. Raises CheckpointError.
    """
    checkpoint = inspect(path)
    dtype = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    if dtype not in DTYPES.values():
        raise CheckpointError(f"a denoiser computes in {', '.join(DTYPES)}; not in {dtype}")
    spec = chosen_spec(checkpoint, prediction)
    net = checkpoint.net
    if spec.config != checkpoint.match.spec.config:  # another reading of the same tensors
        net = unfilled(checkpoint.header, spec.architecture, spec.config)
    known_as = identity_later(checkpoint.path)
    fill(net, checkpoint.path, checkpoint.header, checkpoint.sources, dtype, torch.device(device))
    return Denoiser(
        net,
        precondition(spec),
        shape=spec.shape,
        sigma_min=spec.sigma_min,
        sigma_max=spec.sigma_max,
        vocabulary=Vocabulary(spec.vocabulary) if spec.vocabulary else None,
        spec=spec,
        identity=known_as,
        autoencoder=_autoencoder(checkpoint, autoencoder, dtype, device),
    )


def natural_dtype(checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    """What a net is best run in: float32 on the CPU and where it is small, else what most of it is (fp8: bfloat16)."""
    held = Counter()
    for source in checkpoint.sources.values():
        for key in source.keys:
            held[checkpoint.header.tensors[key].dtype] += math.prod(checkpoint.header.tensors[key].shape)
    if device.type == "cpu" or sum(tensor.numel() for tensor in checkpoint.net.state_dict().values()) < SMALL:
        return torch.float32
    ((most, _),) = held.most_common(1)
    return {"F16": torch.float16, "F32": torch.float32, "F64": torch.float32}.get(most, torch.bfloat16)


def _autoencoder(
    checkpoint: Checkpoint, path: str | os.PathLike | None, dtype: torch.dtype, device: torch.device | str
) -> Autoencoder | None:
    if checkpoint.match.spec.channels not in LATENTS or (path is None and checkpoint.autoencoder is None):
        return None
    # Those of Stable Diffusion overflow in half precision.
    dtype = torch.float32 if dtype == torch.float16 else dtype
    path = path or checkpoint.path
    found = load_autoencoder(path, dtype=dtype, device=device, latents=checkpoint.match.spec.channels)
    if found.channels != checkpoint.match.spec.shape[0]:
        raise CheckpointError(
            f"{path} makes latents of {found.channels} channels, and {checkpoint.path.name} works on "
            f"{checkpoint.match.spec.shape[0]}: choose the autoencoder of its family"
        )
    return found


def chosen_spec(checkpoint: Checkpoint, prediction: str) -> Spec:
    """The file's Spec, or another reading of it with the prediction that the user names, unless that is "auto"."""
    spec = checkpoint.match.spec
    if prediction in ("auto", spec.prediction):
        return spec
    for other in checkpoint.match.others:
        if other.prediction == prediction:
            return other
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
    if spec.prediction == "edm":
        return make(spec.sigma_data)
    return make(nearest(spec.betas)) if spec.betas else make()


def save_denoiser(
    path: str | os.PathLike, net: nn.Module, spec: Spec, dtype: torch.dtype | None = torch.float16
) -> None:
    """Writes a net and its Spec as a Varifold checkpoint; a file already there stays whole until the new one is.

    Raises CheckpointError if net and spec do not belong together, or the weights do not fit into `dtype`.
    """
    write(path, net, {KEY: spec.to_json()}, dtype, inspect)
