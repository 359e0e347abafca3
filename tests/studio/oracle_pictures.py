"""Runs inside a real ComfyUI: what its own nodes make of pictures, and its validation of prompts.

Usage: oracle_pictures.py FOLDER. FOLDER/input holds pictures, FOLDER/prompts.json a list of prompts; writes
FOLDER/pictures.npz (name -> image, name.mask -> mask), FOLDER/answers.json and FOLDER/odd.npz (case.output -> value).
"""

import asyncio
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.argv = [sys.argv[0], "--cpu", "--input-directory", str(folder / "input")]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import execution  # noqa: E402
import folder_paths  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from comfy_extras import nodes_compositing, nodes_custom_sampler, nodes_images, nodes_mask, nodes_preview_any  # noqa: E402

import nodes  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import odd_pictures  # noqa: E402

folder_paths.set_input_directory(str(folder / "input"))
arrays = {}
for path in sorted((folder / "input").iterdir()):
    image, mask = nodes.LoadImage().load_image(path.name)
    arrays[path.name], arrays[path.name + ".mask"] = image.numpy(), mask.numpy()
    for method in nodes.ImageScale.upscale_methods:
        scaled = nodes.ImageScale().upscale(image, method, 9, 7, "center")[0]
        arrays[f"{path.name}.{method}"] = scaled.numpy()
for channel in ("alpha", "red", "green", "blue"):
    arrays[f"mask.{channel}"] = nodes.LoadImageMask().load_image_mask("rgba.png", channel)[0].numpy()
rgb, apng = (nodes.LoadImage().load_image(name)[0] for name in ("rgb.png", "apng.png"))
rgba = torch.cat([rgb, 1 - rgb[..., :1]], -1)[:, :11, :19]
arrays["batched"] = nodes.ImageBatch().batch(apng, rgba)[0].numpy()
for channel in ("red", "green", "blue", "alpha"):
    arrays[f"to_mask.{channel}"] = nodes_mask.ImageToMask.execute(rgba, channel).args[0].numpy()
arrays["to_image"] = nodes_mask.MaskToImage.execute(rgba[..., 0]).args[0].numpy()
high, low = nodes_custom_sampler.SplitSigmas.execute(torch.linspace(9, 0, 7), 3).args
arrays["high"], arrays["low"] = high.numpy(), low.numpy()
np.savez(folder / "pictures.npz", **arrays)

values = ["a text", 3, 2.5, True, None, {"a": [1, "é"]}, [1, None], {1, 2}]
texts = [nodes_preview_any.PreviewAny().main(value)["result"][0] for value in values]
(folder / "texts.json").write_text(json.dumps(texts))

answers = [
    asyncio.run(execution.validate_prompt("x", prompt, None))
    for prompt in json.loads((folder / "prompts.json").read_text())
]
(folder / "answers.json").write_text(json.dumps(answers))


def run(node, inputs):
    """One of ComfyUI's nodes, of its old kind or its new one."""
    extras = (nodes_compositing, nodes_custom_sampler, nodes_images, nodes_mask, nodes_preview_any)
    cls = nodes.NODE_CLASS_MAPPINGS.get(node) or next(getattr(extra, node) for extra in extras if hasattr(extra, node))
    if hasattr(cls, "execute"):
        return cls.execute(**inputs).args
    returned = getattr(cls(), cls.FUNCTION)(**inputs)
    return returned["result"] if isinstance(returned, dict) else returned


odd = {
    f"{case}.{output}": np.asarray(value)
    for case, values in enumerate(odd_pictures.results(run))
    for output, value in enumerate(values or [])
}
np.savez(folder / "odd.npz", **odd)
