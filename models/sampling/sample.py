"""The one loop that runs a Plan, and the function people call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..denoising.guidance import guided
from ..denoising.space import Space
from .inpaint import keeping, noised
from .noise import Noise
from .plan import START, Plan, Slot, Terms
from .solver import plan as make_plan
from .trace import Recorder
from .watch import Observer, Watch


@torch.no_grad()
def run(
    plan: Plan,
    D: Callable[[Tensor, float], Tensor],
    x: Tensor,
    noise: Callable[[int], Tensor],
    *,
    observe: Observer | None = None,
    pictures: bool = False,
    recorder: Recorder | None = None,
) -> Tensor:
    """The state that `plan` makes of the start `x` [B, ...], by D(x, sigma) -> x0 and noise(id) -> unit normals.

    For a plan that asks for negatives D gives a pair, x0 and what it would be without the prompt.
    `observe(done, total, x0)` hears of each evaluation one evaluation late, with a picture of x0 if `pictures`.
    Raises `watch.NonFinite` if D returns NaN or infinity.
    """
    last_use = plan.last_uses()
    errors = recorder.error_rows if recorder else {}
    for index, (_, terms) in errors.items():
        last_use |= {slot: max(index + 1, last_use.get(slot, 0)) for slot, _ in terms}
    slots, pairs = {START: x}, plan.asks_for_negatives
    watch = Watch(plan.evaluations, x.device, observe, pictures)
    for index, row in enumerate(plan.rows):
        for slot, _ in row.terms:
            if slot not in slots:
                slots[slot] = noise(slot.index)
        state = weighted_sum(row.terms, slots)
        for slot in [slot for slot in slots if last_use[slot] <= index]:
            del slots[slot]
        if index == plan.evaluations:
            break
        answers = D(state, row.sigma) if pairs else (D(state, row.sigma),)
        x0, *negative = (answer.to(state.dtype) for answer in answers)
        for kind, value in zip("xdu", (state, x0, *negative), strict=False):
            if Slot(kind, index) in last_use:
                slots[Slot(kind, index)] = value
        watch.record(index, row.sigma, x0)
        if recorder is not None:
            recorder.record(index, x0, weighted_sum(errors[index][1], slots) if index in errors else None)
    watch.finish()
    return state


def weighted_sum(terms: Terms, slots: dict[Slot, Tensor]) -> Tensor:
    """Σ weight·slot."""
    (first, weight), *rest = terms
    if not rest and weight == 1:
        return slots[first]
    state = slots[first] * weight
    for slot, weight in rest:
        state.add_(slots[slot], alpha=weight)
    return state


@torch.no_grad()
def sample(
    denoiser: Any,
    sigmas: Sequence[float],
    *,
    solver: str | Plan = "dpmpp_2m",
    seed: int = 0,
    batch: int = 1,
    cond: Any = None,
    negative: Any = None,
    guidance: float = 1.0,
    x: Tensor | None = None,
    noise: Tensor | None = None,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    shape: Sequence[int] | None = None,
    indices: Sequence[int] | None = None,
    space: Space | None = None,
    observe: Observer | None = None,
    pictures: bool = False,
    recorder: Recorder | None = None,
) -> Tensor:
    """Draw `batch` pictures [B, C, H, W], values as the denoiser's data has them.

    denoiser: any D(x, sigma, cond) -> x0; `space` and `shape` (C, H, W) are asked of it if not given.
    sigmas: N+1 descending floats. solver: a name of `solver.SOLVERS`, or a Plan made for these σ's.
    seed, indices: picture b is drawn from noise stream (seed, indices[b]), 0, 1, 2, ... by default, and is the same
    picture in any batch. noise: unit normals to start from, instead of the streams'. x: the state at sigmas[0], instead
    of noise. image: an x0 to start from, noised to sigmas[0]; with mask [B, 1, H, W], kept where that is 0 and
    repainted where it is 1. cond, negative: conditions, or lists of them, see `guided`; guidance: 1 is none.
    observe, pictures, recorder: see `run`.

    Raises ValueError for schedules, sizes and plans that do not fit, `NonFinite` for NaN or infinity on the way.
    """
    sigmas = [float(sigma) for sigma in sigmas]
    space = space or getattr(denoiser, "space", None)
    if space is None:
        raise ValueError("a plain function does not tell its space: pass space=VE or space=FLOW")
    space.check(sigmas)
    plan = solver if isinstance(solver, Plan) else make_plan(solver, sigmas, space)
    plan.check_sigmas(sigmas)
    if plan.space != space.name:
        raise ValueError(
            f"this plan ({plan.solver}) was made for {plan.space} space, and the denoiser's is {space.name}"
        )

    batch, shape = _batch_and_shape(denoiser, batch, shape, x, image, noise)
    indices = list(range(batch) if indices is None else indices)
    _check_fit(batch, shape, indices, x=x, image=image, noise=noise, mask=mask)
    device, dtype = _device_and_dtype(denoiser, x, image, noise)
    x, image, noise, mask = (None if part is None else part.to(device, dtype) for part in (x, image, noise, mask))

    streams = Noise(seed, indices, shape, device, dtype)
    if noise is None and (x is None or mask is not None):
        noise = streams(0)
    if x is None:
        warn_of_an_unusual_start(denoiser, sigmas[0], image)
        scale = getattr(denoiser, "pure_noise", float)(sigmas[0])
        x = noise * scale if image is None else torch.add(image * space.alpha(sigmas[0]), noise, alpha=scale)
    levels = [row.sigma for row in plan.rows[:-1]]
    D = guided(
        denoiser,
        levels,
        (batch, *shape),
        positive=cond,
        negative=negative,
        scale=guidance,
        pairs=plan.asks_for_negatives,
    )
    if mask is not None:
        D = keeping(D, space, image, mask, noise)
    state = run(plan, D, x, streams, observe=observe, pictures=pictures, recorder=recorder)
    if mask is not None:
        state = torch.where(mask == 0, noised(space, image, sigmas[-1], noise), state)
    return state


def _batch_and_shape(
    denoiser: Any, batch: int, shape: Sequence[int] | None, *given: Tensor | None
) -> tuple[int, tuple[int, ...]]:
    for tensor in given:
        if tensor is not None:
            return tensor.shape[0], tuple(tensor.shape[1:])
    shape = shape or getattr(denoiser, "shape", None)
    if shape is None:
        raise ValueError("a plain function does not tell its shape: pass x= or shape=")
    return batch, tuple(shape)


def _check_fit(
    batch: int, shape: tuple[int, ...], indices: list[int], *, mask: Tensor | None, **states: Tensor | None
) -> None:
    if batch < 1:
        raise ValueError(f"a batch has at least one picture, not {batch}")
    if len(indices) != batch:
        raise ValueError(f"there are {len(indices)} indices for a batch of {batch}: one for each picture")
    for name, state in states.items():
        if state is not None and tuple(state.shape) != (batch, *shape):
            raise ValueError(f"{name} has the shape {tuple(state.shape)}, and the run {(batch, *shape)}")
    if mask is None:
        return
    if states["image"] is None:
        raise ValueError("a mask needs the image that it keeps: pass image=")
    if tuple(mask.shape) not in ((1, 1, *shape[1:]), (batch, 1, *shape[1:])):
        raise ValueError(f"the mask has the shape {tuple(mask.shape)}, and should have {(batch, 1, *shape[1:])}")


def _device_and_dtype(denoiser: Any, x: Tensor | None, *others: Tensor | None) -> tuple[torch.device, torch.dtype]:
    given = [tensor for tensor in (x, *others) if tensor is not None]
    dtype = torch.float32
    for tensor in given:
        dtype = torch.promote_types(dtype, tensor.dtype)
    device = given[0].device if given else torch.device("cpu")
    return getattr(denoiser, "device", device), dtype


def warn_of_an_unusual_start(denoiser: Any, sigma: float, image: Tensor | None) -> None:
    """Warn of a σ to start from that the denoiser does not know, or that is below pure noise without an `image`."""
    sigma_max = getattr(denoiser, "sigma_max", None)
    if sigma_max is not None and sigma > 1.5 * sigma_max:
        warnings.warn(
            f"starting at σ = {sigma:g}, far above the {sigma_max:g} that this denoiser knows: expect odd pictures",
            stacklevel=4,
        )
    if image is None and sigma_max is not None and sigma < sigma_max / 2:
        warnings.warn(
            f"starting from pure noise at σ = {sigma:g}, far below the {sigma_max:g} that this denoiser was trained to "
            "start from: expect dull or broken pictures",
            stacklevel=4,  # past this, sample and its no_grad
        )
