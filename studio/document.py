"""Reads a workflow from JSON, or from the picture that it made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import train_config
from .errors import WorkflowError


@dataclass(frozen=True)
class Document:
    """A workflow as a file holds it: `workflow` in UI form, `prompt` in API form; at least one of them."""

    workflow: dict | None
    prompt: dict | None


def read(path: str | Path) -> Document:
    """Read UI JSON, API JSON, a body for POST /prompt, a training's config, or a picture with a workflow in it.

    Raises WorkflowError where the file is none of these.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"cannot read {path}: {error.strerror}") from error
    if data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8")):
        return _from_picture(path)
    return parse(_json(data, path), path)


def parse(document: Any, source: str | Path = "the workflow") -> Document:
    if isinstance(document, dict):
        if isinstance(document.get("nodes"), list):
            return Document(document, None)
        wrapped = document.get("prompt")
        if isinstance(wrapped, dict) and "class_type" not in wrapped:
            return Document(_workflow_beside(document), wrapped)
        if isinstance(document.get("train"), str):
            return Document(None, train_config.prompt_of(document, source))
        if document and all(isinstance(node, dict) and "class_type" in node for node in document.values()):
            return Document(None, document)
    raise WorkflowError(
        f"{source} is JSON, but no workflow: it has neither a list of nodes (ComfyUI's Save or Export) "
        "nor nodes with a class_type (Export (API))"
    )


def _workflow_beside(body: dict) -> dict | None:
    for key in ("extra_data", "extra_pnginfo", "workflow"):
        body = body.get(key) if isinstance(body, dict) else None
    return body if isinstance(body, dict) else None


def _from_picture(path: Path) -> Document:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            texts = getattr(picture, "text", {})
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise WorkflowError(f"{path} is a damaged picture: {error}") from error
    for key in ("workflow", "prompt"):
        if key in texts:
            return parse(_json(texts[key], path), path)
    raise WorkflowError(
        f"{path} is a picture with no workflow in it; only PNGs that keep ComfyUI's metadata can be run"
    )


def _json(text: str | bytes, source: Path) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise WorkflowError(f"{source} is nested too deep to be a workflow") from None
    except ValueError as error:
        raise WorkflowError(f"{source} is not JSON: {error}") from error
