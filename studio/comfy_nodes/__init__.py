"""ComfyUI's own nodes that a graph of ours needs, under its ids, with its sockets, defaults and results."""

from . import images, masks, values

NODES = {**images.NODES, **masks.NODES, **values.NODES}
CLASSES = {node_id: cls for node_id, (_, cls) in NODES.items()}
NAMES = {node_id: name for node_id, (name, _) in NODES.items()}
