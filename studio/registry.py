"""All nodes that a workflow may use here."""

from __future__ import annotations

from .image_nodes import IMAGE_NODE_NAMES, IMAGE_NODES


def node_classes() -> dict[str, type]:
    """Node id -> class: the pack's nodes and ComfyUI's own nodes for pictures."""
    from .. import NODE_CLASS_MAPPINGS

    return {**IMAGE_NODES, **NODE_CLASS_MAPPINGS}


def node_names() -> dict[str, str]:
    """Node id -> display name."""
    from .. import NODE_DISPLAY_NAME_MAPPINGS

    return {**IMAGE_NODE_NAMES, **NODE_DISPLAY_NAME_MAPPINGS}
