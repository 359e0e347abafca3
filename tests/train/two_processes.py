"""What two processes learn together, each on its half of every batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

TESTS = Path(__file__).parents[1]
SCRIPT = """
import json, sys
from importlib import import_module
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
module, function = sys.argv[1].split(":")
losses, weights = getattr(import_module(module), function)(*sys.argv[4:])
save_file({name: weight.contiguous() for name, weight in weights.items()}, sys.argv[2] + ".safetensors")
Path(sys.argv[2] + ".json").write_text(json.dumps(losses))
"""


def together(function: str, folder: Path, *arguments: str) -> list[tuple[list, dict[str, Tensor]]]:
    """What MODULE:FUNCTION(*arguments), of a package of the tests, gives in each: losses, and weights by name.

    The processes can find one another by `ranks.join`; what they give is kept in the folder.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, function, str(folder / f"rank {rank}"), str(TESTS), *arguments],
            env=env | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-2000:]
    return [
        (json.loads((folder / f"rank {rank}.json").read_text()), load_file(folder / f"rank {rank}.safetensors"))
        for rank in range(2)
    ]
