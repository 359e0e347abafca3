"""Runs inside a real ComfyUI: what its own nodes make of pictures, and its validation of prompts.

Usage: oracle_pictures.py FOLDER. FOLDER/input holds pictures, FOLDER/prompts.json a list of prompts; writes
FOLDER/pictures.npz (name -> image, name.mask -> mask) and FOLDER/answers.json.
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

import nodes  # noqa: E402

folder_paths.set_input_directory(str(folder / "input"))
arrays = {}
for path in sorted((folder / "input").iterdir()):
    image, mask = nodes.LoadImage().load_image(path.name)
    arrays[path.name], arrays[path.name + ".mask"] = image.numpy(), mask.numpy()
    for method in nodes.ImageScale.upscale_methods:
        scaled = nodes.ImageScale().upscale(image, method, 9, 7, "center")[0]
        arrays[f"{path.name}.{method}"] = scaled.numpy()
np.savez(folder / "pictures.npz", **arrays)

answers = [
    asyncio.run(execution.validate_prompt("x", prompt, None))
    for prompt in json.loads((folder / "prompts.json").read_text())
]
(folder / "answers.json").write_text(json.dumps(answers))
