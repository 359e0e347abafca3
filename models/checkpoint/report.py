"""What a checkpoint is, in words for its user."""

import os
import textwrap

from torch import nn

from ..denoising.denoiser import Denoiser
from .errors import CheckpointError
from .file import identity
from .inspect import Checkpoint, inspect
from .load import chosen_spec
from .spec import Spec

SHOWN = 20  # unused tensors named one by one


def report(source: str | os.PathLike | Denoiser | None = None, prediction: str = "auto") -> str:
    """Lines on a file (None: the embedded denoiser's) or a loaded denoiser. Raises CheckpointError.

    Of a file it also says what proved the family, which tensors are unused and what stayed ambiguous;
    `prediction` is what load_denoiser was told.
    """
    if isinstance(source, Denoiser):
        if source.spec is None:
            raise CheckpointError("this denoiser was not loaded from a checkpoint: there is nothing to report")
        lines = _denoiser_lines(source.spec, source.net, f"{source.spec.prediction}")
        return "\n".join([*lines, f"sha256: {source.identity}"])
    checkpoint = inspect(source)
    spec, said = chosen_spec(checkpoint, prediction), checkpoint.match.spec.prediction
    why = "as the file says" if prediction == "auto" else f"chosen by you; the file says {said}"
    return "\n".join([*_denoiser_lines(spec, checkpoint.net, f"{spec.prediction}, {why}"), *_file_lines(checkpoint)])


def _denoiser_lines(spec: Spec, net: nn.Module, prediction: str) -> list[str]:
    channels, height, width = spec.shape
    parameters = sum(parameter.numel() for parameter in net.parameters())
    lines = [
        spec.title or "a denoiser without a title",
        f"net: {spec.architecture}, {parameters:,} parameters",
        f"prediction: {prediction}" + (f" (sigma_data {spec.sigma_data:g})" if spec.prediction == "edm" else ""),
        f"noise: {spec.space}, sigma {spec.sigma_min:g} to {spec.sigma_max:g}",
        f"pictures: {width}×{height}, {channels} channels ({spec.channels}); sizes in multiples of {net.multiple}",
    ]
    for name, words in (("words", spec.vocabulary[1:]), ("labels", spec.labels)):
        if words:
            lines.append(f"{len(words)} {name}:")
            lines += textwrap.wrap(
                ", ".join(words), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )
    lines.append(f"licence: {spec.licence or 'not stated'}")
    lines += textwrap.wrap(f"trained on: {spec.trained_on or 'not stated'}", 100, subsequent_indent="  ")
    return lines


def _file_lines(checkpoint: Checkpoint) -> list[str]:
    dtypes = sorted({info.dtype for info in checkpoint.header.tensors.values()})
    unused = [*checkpoint.unused[:SHOWN], *(["..."] if len(checkpoint.unused) > SHOWN else [])]
    doubts = list(checkpoint.match.doubts)
    if checkpoint.match.spec.extra:
        doubts.append(
            f"fields of a newer version were passed over: {', '.join(map(ascii, checkpoint.match.spec.extra))}"
        )
    return [
        f"file: {checkpoint.path.name}, {', '.join(dtypes)}, sha256 {identity(checkpoint.path)}",
        f"family: {checkpoint.match.family}, because {checkpoint.match.proof}",
        f"unused tensors: {len(checkpoint.unused)}" + (f" ({', '.join(map(ascii, unused))})" if unused else ""),
        f"ambiguous: {'; '.join(doubts) or 'nothing'}",
    ]
