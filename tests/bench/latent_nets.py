"""Nets of latents beside those of diffusers and ComfyUI: `python tests/bench/latent_nets.py [ROW ...] [--rounds N]`.

Seconds of a guided step of a U-Net as large as Stable Diffusion 1.5's, and of a DiT-S/2; of decoding a picture by a KL
autoencoder as large as Stable Diffusion's, whole and in strips; and of loading that U-Net's 3.4 GB, with the most
memory held. Some map the file and read it on use, so each then reads every weight once. All have the same random
weights, and each is a process that waits its turn; a figure is the median of interleaved rounds, a ratio that of the
faster peer to ours. Peers are taken as far as they are installed. Needs 12 GB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from comfyui.install import Install, default_folder  # noqa: E402


@dataclass(frozen=True)
class Row:
    """A task of latent_peers.py: on which model, by whom, at what side, in which dtype and with how many threads."""

    task: str
    model: str
    side: int
    dtype: str = "float32"
    threads: int = 1
    peers: tuple[str, ...] = ("ours", "diffusers", "comfyui")

    @property
    def name(self) -> str:
        return f"{self.task}-{self.side}-{self.dtype}-{self.threads}"


ROWS = [
    *(Row("unet", "unet", side, dtype, threads)
      for side in (32, 64) for dtype in ("float32", "bfloat16") for threads in (1, 2)),
    *(Row("dit", "dit", 32, dtype, threads, ("ours", "diffusers"))
      for dtype in ("float32", "bfloat16") for threads in (1, 2)),
    Row("decode", "kl", 512, threads=2),
    Row("strips", "kl", 512, threads=2, peers=("ours",)),
    Row("load", "unet", 0),
]  # fmt: skip


def make(model: str, folder: Path) -> None:
    """Saves a model as diffusers does."""
    from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    made = {
        "unet": lambda: UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        "dit": lambda: DiTTransformer2DModel(num_attention_heads=6, attention_head_dim=64, num_layers=12),
        "kl": lambda: AutoencoderKL(**blocks, block_out_channels=(128, 256, 512, 512), layers_per_block=2),
    }[model]()
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    made.save_pretrained(folder)


class Peer:
    """A process that does a task when asked."""

    def __init__(self, peer: str, row: Row, folder: Path):
        python, environment = sys.executable, None
        if peer == "comfyui":
            install = Install(default_folder())
            python, environment = install.python, install.environment(install.source)
        words = [python, TESTS / "bench" / "latent_peers.py", peer, row.task, folder, row.side, row.dtype, row.threads]
        self.process = subprocess.Popen(
            [str(word) for word in words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._until("ready")

    def _until(self, start: str) -> str:
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def run(self) -> dict[str, float]:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return json.loads(self._until("{"))

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measured(row: Row, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Each peer's median seconds and most memory."""
    installed = {"ours": True, "diffusers": find_spec("diffusers"), "comfyui": Install(default_folder()).complete}
    names = [name for name in row.peers if installed[name]]
    found = {name: [] for name in names}
    # What is loaded once has its memory warm: each time another process.
    renewed = row.task == "load"
    peers = {} if renewed else {name: Peer(name, row, folder) for name in names}
    for _ in range(rounds):
        for name in names:
            peer = Peer(name, row, folder) if renewed else peers[name]
            found[name].append(peer.run())
            if renewed:
                peer.end()
    for peer in peers.values():
        peer.end()
    return {
        name: {
            "seconds": statistics.median(each["seconds"] for each in results),
            "megabytes": max(each["megabytes"] for each in results),
        }
        for name, results in found.items()
    }


def told(row: Row, results: dict[str, dict[str, float]]) -> str:
    cells = [f"{name} {each['seconds']:.3f} s {each['megabytes']:.0f} MB" for name, each in results.items()]
    others = [each["seconds"] for name, each in results.items() if name != "ours"]
    ratio = f"{min(others) / results['ours']['seconds']:.2f}" if others else ""
    return f"{row.name:26}" + "".join(f"{cell:>34}" for cell in cells) + f"{ratio:>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    rows = [row for row in ROWS if not chosen.rows or row.name in chosen.rows]
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows:
            folder = Path(scratch) / row.model
            if not folder.exists():
                make(row.model, folder)
            print(told(row, measured(row, folder, chosen.rounds)), flush=True)


if __name__ == "__main__":
    main()
