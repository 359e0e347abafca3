"""Pictures, masks and schedules as odd as other packs' nodes send them, for every node under an id of ComfyUI's.

Runs in two programs: ours, and a real ComfyUI.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

_random = torch.Generator().manual_seed(0)


def _noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=_random)


IMAGES = {
    "rgb": _noise(2, 7, 9, 3),
    "rgba": _noise(1, 7, 9, 4),
    "grey": _noise(1, 7, 9, 1),
    "two channels": _noise(1, 7, 9, 2),
    "half": _noise(1, 7, 9, 3).half(),
    "tall": _noise(3, 13, 5, 3),
    "pixel": _noise(1, 1, 1, 3),
    "line": _noise(1, 1, 40, 3),
    "out of range": _noise(1, 7, 9, 3) * 3 - 1,
    "none": torch.zeros(0, 7, 9, 3),
}
MASKS = {
    "batch": _noise(2, 7, 9),
    "other size": _noise(3, 4, 5),
    "no batch": _noise(7, 9),
    "with channel": _noise(2, 1, 7, 9),
}
SIGMAS = {"seven": torch.linspace(9, 0, 7), "empty": torch.zeros(0), "one": torch.ones(1)}
VALUES = {**IMAGES, **MASKS, **SIGMAS, "large": torch.arange(3000.0).reshape(3, 1000)}

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
SIZES = ((5, 4), (0, 0), (0, 4), (5, 0), (1, 1), (30, 3))
CASES: list[tuple[str, dict[str, Any]]] = [
    *(("ImageBatch", {"image1": a, "image2": b}) for a, b in product(IMAGES, IMAGES)),
    *(("JoinImageWithAlpha", {"image": image, "alpha": mask}) for image, mask in product(IMAGES, MASKS)),
    *(("SplitImageWithAlpha", {"image": image}) for image in IMAGES),
    *(("ImageToMask", {"image": i, "channel": c}) for i, c in product(IMAGES, ("red", "green", "blue", "alpha"))),
    *(("RepeatImageBatch", {"image": image, "amount": 3}) for image in IMAGES),
    *(
        ("ImageScale", {"image": image, "upscale_method": method, "width": width, "height": height, "crop": crop})
        for image, method, (width, height), crop in product(IMAGES, METHODS, SIZES, ("disabled", "center"))
    ),
    *(
        ("ImageScaleBy", {"image": image, "upscale_method": method, "scale_by": scale})
        for image, method, scale in product(IMAGES, METHODS, (0.01, 0.5, 1.0, 1.7))
    ),
    *((node, {"mask": mask}) for node, mask in product(("InvertMask", "MaskToImage"), MASKS)),
    *(("SplitSigmas", {"sigmas": sigmas, "step": step}) for sigmas, step in product(SIGMAS, (0, 1, 6, 7, 100, -1))),
    *(("PreviewAny", {"source": value}) for value in VALUES),
]


def results(run: Callable[[str, dict[str, Any]], Any]) -> list[list | None]:
    """What run(node, inputs) gives for each case; None if it raises."""
    return [_result(run, node, inputs) for node, inputs in CASES]


def _result(run: Callable[[str, dict[str, Any]], Any], node: str, inputs: dict[str, Any]) -> list | None:
    try:
        return list(run(node, {name: VALUES.get(value, value) for name, value in inputs.items()}))
    except Exception:
        return None
