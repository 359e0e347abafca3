"""The front door: cheap to open, and under any folder name."""

import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import varifold

ROOT = Path(varifold.__file__).parent
HEAVY = {"diffusers", "scipy", "torchvision", "comfy", "aiohttp", "transformers"}
MOST_SECONDS = 0.5

TIMED = """
import importlib.util, json, sys, time
import numpy, PIL.Image, safetensors.torch, torch

def timed(load):
    before, began = set(sys.modules), time.process_time()
    load()
    return time.process_time() - began, sorted(set(sys.modules) - before)

def foreign():
    spec = importlib.util.spec_from_file_location("/packs/99-foreign_x_name", sys.argv[1] + "/__init__.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

def installed():
    import varifold

print(json.dumps(timed(foreign if sys.argv[2] == "foreign" else installed)))
"""


@pytest.mark.parametrize("how", ["installed", "foreign"])
def test_importing_the_pack_is_cheap(how, capsys):
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", TIMED, ROOT, how], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    seconds = statistics.median(seconds for seconds, _ in runs)
    with capsys.disabled():
        print(f"\nimport of the pack ({how}): {seconds:.3f} s of CPU")
    assert seconds < MOST_SECONDS
    loaded = runs[0][1]
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    assert not [name for name in loaded if name.startswith(("torch._dynamo", "torch._inductor"))]


@pytest.fixture
def foreign(tmp_path):
    """The pack as ComfyUI loads it: the folder itself, its path with `_x_` for every dot as the module's name."""
    folder = tmp_path / "custom_nodes" / "99-foreign.name"
    folder.parent.mkdir()
    folder.symlink_to(ROOT)
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[loaded]


def test_the_pack_works_under_a_foreign_name(foreign):
    nodes = foreign.NODE_CLASS_MAPPINGS
    assert nodes.keys() == varifold.NODE_CLASS_MAPPINGS.keys() == foreign.NODE_DISPLAY_NAME_MAPPINGS.keys()
    assert all(node.__module__.startswith(f"{foreign.__name__}.nodes.") for node in nodes.values())
    assert (ROOT / foreign.WEB_DIRECTORY).is_dir()

    host = importlib.import_module(".nodes.host", foreign.__name__)
    host.use(importlib.import_module(".studio.host", foreign.__name__).StudioHost())
    with torch.inference_mode():
        denoiser, _ = nodes["VarifoldLoadDenoiser"]().load("Varifold pixel art (embedded)", "auto", "auto")
        levels = torch.tensor([80.0, 1.0, 0.0])
        outputs = nodes["VarifoldSampler"]().sample(denoiser, levels, "heun", 1.0, 0, 1, 0, 0)["result"]
    assert type(denoiser).__module__.startswith(foreign.__name__)
    assert outputs[0].shape == (1, 32, 32, 3) and outputs[0].any()


def test_neither_the_pack_nor_the_studio_imports_torch_before_a_node_runs():
    """Torch takes seconds, and the Studio's page waits for the pack."""
    tell = "import sys, varifold, varifold.studio.server.app; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", tell], capture_output=True, check=True, text=True).stdout == "False\n"
