"""Varifold: a node pack for ComfyUI with a diffusion engine of its own."""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from .nodes.answers import answer
from .nodes.host import open_routes

WEB_DIRECTORY = "./web"
open_routes(answer)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
