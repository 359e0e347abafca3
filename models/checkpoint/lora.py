"""A denoiser changed by a LoRA file: W + strength · alpha/rank · up · down.

Hu et al. 2021 (arXiv:2106.09685); of convolutions, up is one of a single pixel, and a third factor may stand between
the two (Yeh et al. 2023, arXiv:2309.14859).
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from ..denoising.denoiser import Denoiser
from ..nets import build
from .account import without_ones
from .errors import CheckpointError
from .file import identity
from .lora_file import Factors, LoraFile, read_lora
from .lora_places import LAYOUTS, Place, places
from .weights import finite, reading

NO_LORA = "no LoRA: none of its tensors is named as a LoRA's are. Choose another file"
SHOWN = 20  # names told one by one
MAX_SCALE = 1000.0  # of alpha/rank, which is mostly at most 1


# As where denoisers are loaded: tensors made in ComfyUI's inference mode could never be trained or patched.
@torch.inference_mode(False)
def with_lora(denoiser: Denoiser, path: str | os.PathLike, strength: float = 1.0) -> tuple[Denoiser, str]:
    """The denoiser with the file's change of its weights, and a report; the one given stays as it is.

    They share the tensors that are not changed. The change is computed in float32 or better and rounded once. At
    strength 0 the denoiser itself comes back. Raises CheckpointError for a file that is no LoRA or one for another net.
    """
    if not math.isfinite(strength):
        raise CheckpointError(f"the strength of a LoRA is a finite number, not {strength}")
    if getattr(getattr(denoiser, "spec", None), "architecture", None) not in LAYOUTS:
        raise CheckpointError(
            "LoRAs are read for Stable Diffusion, Flux, DiT and SiT, and this denoiser is none of them"
        )
    lora = read_lora(path)
    known = places(denoiser.spec.architecture, denoiser.net)
    matched = {module: known[module] for module in lora.factors if module in known}
    _check(lora, matched, denoiser)
    report = "\n".join(_report(lora, matched, strength))
    if strength == 0:
        return denoiser, report

    of_tensor: dict[str, list[tuple[Place, Factors]]] = defaultdict(list)
    for module, place in matched.items():
        of_tensor[place.tensor].append((place, lora.factors[module]))
    weights = denoiser.net.state_dict()
    with reading(lora.path, lora.header) as read:
        for name, changes in of_tensor.items():
            weights[name] = _changed(lora, read, name, weights[name], changes, strength)
    with torch.device("meta"):
        net = build(denoiser.spec.architecture, denoiser.spec.config)
    net.load_state_dict(weights, assign=True)
    net.eval().requires_grad_(False)
    known_as = denoiser.identity_with(f"{identity(lora.path)} * {strength!r}")
    return denoiser.with_net(net, known_as), report


def _check(lora: LoraFile, matched: dict[str, Place], denoiser: Denoiser) -> None:
    """Raises CheckpointError unless something matches, and all that does has the net's shapes."""
    if not lora.factors and not lora.others:
        what = "for text encoders alone: ComfyUI's LoRA loader applies it to CLIP" if lora.text else NO_LORA
        raise CheckpointError(f"{lora.path} is {what}")
    this = denoiser.spec.title or denoiser.spec.architecture
    if not matched:
        kinds = " and ".join(sorted(set(lora.others.values())))
        read = f"it holds {kinds}, which is not read, " if kinds else ""
        raise CheckpointError(
            f"{lora.path} changes nothing here: {read}it seems to be for {lora.seems}, and this denoiser is {this}"
        )
    weights, seen = denoiser.net.state_dict(), {}
    for module, place in matched.items():
        factors = lora.factors[module]
        if place in seen:
            raise CheckpointError(f"{lora.path} names one module twice: {seen[place]} and {factors.down}")
        seen[place] = factors.down
        rows, *columns = factors.shape
        needed = tuple(weights[place.tensor].shape[1:])
        if rows != place.rows or without_ones(tuple(columns)) != without_ones(needed):
            raise CheckpointError(
                f"{lora.path}: {factors.up} and {factors.down} change a weight of shape {list(factors.shape)}, and the "
                f"net's is {[place.rows, *needed]}: it seems to be for {lora.seems}, and this denoiser is {this}"
            )


def _changed(
    lora: LoraFile,
    read: Callable[[str], Tensor],
    name: str,
    weight: Tensor,
    changes: list[tuple[Place, Factors]],
    strength: float,
) -> Tensor:
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
    for place, factors in changes:
        change = _product(lora, read, factors, wide)
        if place.swapped:
            change = torch.cat(change.chunk(2)[::-1])
        rows = wide[place.first : place.first + place.rows]
        rows.add_(change.reshape(rows.shape), alpha=strength * _scale(lora, read, factors))
    changed = wide.to(weight.dtype)
    if not finite(changed):
        raise CheckpointError(
            f"{lora.path}: the changed {name} has infinity in {weight.dtype}: take a lower strength, or float32 in "
            "Load Denoiser"
        )
    return changed


def _product(lora: LoraFile, read: Callable[[str], Tensor], factors: Factors, like: Tensor) -> Tensor:
    """up · down, or up · mid · down: [rows, columns]."""

    def factor(name: str) -> Tensor:
        tensor = read(name).to(like.device, like.dtype)
        if not finite(tensor):
            raise CheckpointError(f"{lora.path}: tensor {name} has NaN or infinity: take another file")
        return tensor

    up, down = factor(factors.up).flatten(1), factor(factors.down).flatten(1)
    if factors.mid is not None:
        down = torch.einsum("pqk,qi->pik", factor(factors.mid).flatten(2), down).flatten(1)
    return up @ down


def _scale(lora: LoraFile, read: Callable[[str], Tensor], factors: Factors) -> float:
    """alpha/rank; without alpha 1."""
    if factors.alpha is None:
        return 1.0
    scale = float(read(factors.alpha)) / factors.rank
    if not abs(scale) <= MAX_SCALE:
        raise CheckpointError(
            f"{lora.path}: {factors.alpha} is {scale * factors.rank:g} and its rank {factors.rank}: at most "
            f"{MAX_SCALE:g} times the rank is read. Take another file"
        )
    return scale


def _report(lora: LoraFile, matched: dict[str, Place], strength: float) -> list[str]:
    ranks = sorted({lora.factors[module].rank for module in matched})
    unmatched = [*lora.strange, *(factors.down for module, factors in lora.factors.items() if module not in matched)]
    told = ", ".join([*map(ascii, unmatched[:SHOWN]), *(["..."] if len(unmatched) > SHOWN else [])])
    others = [f"{count} of {kind}" for kind, count in sorted(Counter(lora.others.values()).items())]
    without = sum(lora.factors[module].alpha is None for module in matched)
    return [
        f"LoRA: {lora.path.name}, sha256 {identity(lora.path)}",
        f"strength: {strength:g}" + ("" if strength else ", which leaves the denoiser as it is"),
        f"modules changed: {len(matched)}, of rank {', '.join(map(str, ranks))}"
        + (f"; alpha of {without} is taken as their rank, the file does not tell" if without else ""),
        f"modules not changed, their kind is not read: {', '.join(others) or 'none'}",
        f"matched nothing: {len(unmatched)}" + (f" ({told})" if told else ""),
        f"text encoder: {lora.text} tensors" + (", which ComfyUI's LoRA loader applies to CLIP" if lora.text else ""),
    ]
