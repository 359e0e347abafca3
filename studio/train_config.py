"""A training told in a few lines of JSON, as the workflow that it stands for.

    {"train": "denoiser", "pictures": {"folder": "cats", "size": 32}, "name": "cats", "images": 200000}

Keys are the inputs of the nodes; what is left out is as the nodes have it.
"""

from __future__ import annotations

from typing import Any

from .errors import WorkflowError
from .registry import node_classes

NODES = {"denoiser": "VarifoldTrainDenoiser", "autoencoder": "VarifoldTrainAutoencoder", "gan": "VarifoldTrainGAN"}
PICTURES = "VarifoldPictures"


def prompt_of(config: dict[str, Any], source: object) -> dict[str, dict]:
    """The workflow of a config, in API form. Raises WorkflowError, naming the key."""
    kind = config["train"]
    if kind not in NODES:
        raise WorkflowError(f"{source}: train is {kind!r}: choose {', '.join(NODES)}")
    pictures = config.get("pictures", {})
    if not isinstance(pictures, dict):
        raise WorkflowError(f'{source}: pictures should be a table, as {{"folder": "cats", "size": 32}}')
    own = {key: value for key, value in config.items() if key not in ("train", "pictures")}
    return {
        "pictures": _node(PICTURES, pictures, source),
        "train": _node(NODES[kind], {**own, "pictures": ["pictures", 0]}, source),
    }


def _node(name: str, given: dict[str, Any], source: object) -> dict:
    declared = node_classes()[name].INPUT_TYPES()
    known = {**declared["required"], **declared.get("optional", {})}
    if unknown := sorted(set(given) - set(known)):
        raise WorkflowError(f"{source}: there is no {unknown[0]!r:.40}; known are {', '.join(known)}")
    usual = {
        key: options[0].get("default", kind[0] if isinstance(kind, list) else None)
        for key, (kind, *options) in declared["required"].items()
    }
    inputs = {key: value for key, value in {**usual, **given}.items() if value is not None}
    return {"class_type": name, "inputs": inputs}
