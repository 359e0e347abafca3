"""What a checkpoint is, in words for its user."""

import os
import textwrap
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from ..denoising.denoiser import Denoiser
from ..denoising.latents import LATENTS
from .errors import CheckpointError, quote
from .file import identity
from .inspect import Checkpoint, inspect
from .load import chosen_spec
from .spec import Spec
from .weights import BIG

TEXT = ("cond_stage_model.", "conditioner.", "text_encoders.")
SHOWN = 20  # names told one by one


def report(
    source: str | os.PathLike | Denoiser | None = None,
    prediction: str = "auto",
    autoencoder: str | os.PathLike | None = None,
) -> str:
    """Lines on a file (None: the embedded denoiser's) or a loaded denoiser. Raises CheckpointError.

    Of a file it also says what proved the family, which tensors are unused and what stayed ambiguous;
    `prediction` and `autoencoder` are what load_denoiser was told.
    """
    if isinstance(source, Denoiser):
        if source.spec is None:
            raise CheckpointError("this denoiser was not loaded from a checkpoint: there is nothing to report")
        lines = _denoiser_lines(source.spec, source.net, f"{source.spec.prediction}")
        return "\n".join([*lines, f"sha256: {source.identity}"])
    checkpoint = inspect(source)
    spec, said = chosen_spec(checkpoint, prediction), checkpoint.match.spec.prediction
    sure = "most of its family are" if checkpoint.match.others else "the file says"
    why = f"as {sure}" if prediction == "auto" else f"chosen by you; {sure} {said}"
    return "\n".join(
        [*_denoiser_lines(spec, checkpoint.net, f"{spec.prediction}, {why}"), *_file_lines(checkpoint, autoencoder)]
    )


def _denoiser_lines(spec: Spec, net: nn.Module, prediction: str) -> list[str]:
    channels, height, width = spec.shape
    scale = LATENTS[spec.channels].downscale if spec.channels in LATENTS else 1
    parameters = sum(parameter.numel() for parameter in net.parameters())
    lines = [
        spec.title or "a denoiser without a title",
        f"net: {spec.architecture}, {parameters:,} parameters",
        f"prediction: {prediction}" + (f" (sigma_data {spec.sigma_data:g})" if spec.prediction == "edm" else ""),
        f"noise: {spec.space}, sigma {spec.sigma_min:g} to {spec.sigma_max:g}",
        f"pictures: {width * scale}×{height * scale}, {channels} channels ({spec.channels}); "
        f"sizes in multiples of {net.multiple * scale}",
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


def _file_lines(checkpoint: Checkpoint, autoencoder: str | os.PathLike | None) -> list[str]:
    dtypes = sorted({info.dtype for info in checkpoint.header.tensors.values()})
    rest = [name for name in checkpoint.unused if not name.startswith(TEXT)]
    unused = _first(rest)
    doubts = [*checkpoint.match.doubts, *(checkpoint.autoencoder.doubts if checkpoint.autoencoder else ())]
    if checkpoint.match.spec.extra:
        doubts.append(
            f"fields of a newer version were passed over: {', '.join(map(quote, _first(checkpoint.match.spec.extra)))}"
        )
    return [
        f"file: {checkpoint.path.name}, {', '.join(dtypes)}{_hash(checkpoint.path)}",
        f"family: {checkpoint.match.family}, because {checkpoint.match.proof}",
        *_parts(checkpoint, autoencoder),
        f"unused tensors: {len(rest)}" + (f" ({', '.join(map(quote, unused))})" if unused else ""),
        f"ambiguous: {'; '.join(doubts) or 'nothing'}",
    ]


def _first(names: Iterable[str]) -> list[str]:
    names = list(names)
    return [*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])]


def _hash(path: Path) -> str:
    """Of a file that is not so large that hashing it would be waited for."""
    return f", sha256 {identity(path)}" if path.stat().st_size < BIG else ""


def _parts(checkpoint: Checkpoint, autoencoder: str | os.PathLike | None) -> list[str]:
    """What makes pictures of its latents, and what a full checkpoint has beside."""
    if checkpoint.match.spec.channels not in LATENTS:
        return [] if autoencoder is None else ["autoencoder: not used, this denoiser draws pixels"]
    own, text = checkpoint.autoencoder, sum(name.startswith(TEXT) for name in checkpoint.unused)
    lines = [f"autoencoder: {'none in the file' if own is None else f'{own.family}, because {own.proof}'}"]
    if autoencoder is not None:
        lines = [f"autoencoder: {Path(autoencoder).name}"]
    if text:
        lines.append(f"text encoder: {text} tensors, which ComfyUI's own loaders read")
    return lines
