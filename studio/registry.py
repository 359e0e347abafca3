"""All nodes that a workflow may use here."""

from __future__ import annotations

from . import comfy_nodes


def node_classes() -> dict[str, type]:
    """Node id -> class: the pack's nodes and ComfyUI's own nodes for pictures."""
    from .. import NODE_CLASS_MAPPINGS

    return {**comfy_nodes.CLASSES, **NODE_CLASS_MAPPINGS}


def node_names() -> dict[str, str]:
    """Node id -> display name."""
    from .. import NODE_DISPLAY_NAME_MAPPINGS

    return {**comfy_nodes.NAMES, **NODE_DISPLAY_NAME_MAPPINGS}
