"""Hostile files by the thousand: `python tests/bench/hostile_files.py [COUNT] [SEED]`; ten thousand take minutes.

Prints how many each reader read and refused, each fault once for a kind of file, a mutation and a reader, and the
slowest and the hungriest of them. Ends with 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import faulthandler
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile_files import mutations
from hostile_readers import READERS, outcomes, warm_up

LONGEST = 60  # seconds after which a reader hangs
EVERY = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found, faults, each = Counter(), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hostile.safetensors"
        warm_up(path)
        for hostile in mutations(asked.count, asked.seed):
            faulthandler.dump_traceback_later(LONGEST, exit=True)
            for outcome in outcomes(path, hostile):
                what = f"{outcome.reader} of {hostile.number}, {hostile.kind}, {hostile.mutation}"
                end = "faults" if outcome.faults else "read" if outcome.read else "refused"
                found[outcome.reader, end] += 1
                each.append((outcome.seconds, outcome.allocated, outcome.allocated / outcome.justified, what))
                for fault in outcome.faults:
                    key = (hostile.kind, hostile.mutation, outcome.reader, fault[:40])
                    faults[key] += 1
                    if faults[key] == 1:
                        print(f"{what}: {fault}", flush=True)
            if (hostile.number + 1) % EVERY == 0:
                print(f"{hostile.number + 1} files, {faults.total()} faults", flush=True)
        faulthandler.cancel_dump_traceback_later()

    for reader in READERS:
        print(f"{reader:18}" + "".join(f"{found[reader, end]:8} {end}" for end in ("read", "refused", "faults")))
    seconds, memory, share, _ = zip(*each, strict=True)
    print(f"seconds of a reader: median {statistics.median(seconds):.4f}, most {max(each)[0]:.3f}: {max(each)[-1]}")
    for title, column in (("bytes allocated", memory), ("for each byte of file and net", share)):
        most = each[column.index(max(column))]
        print(f"{title}: most {max(column):,.1f}: {most[-1]}")
    return min(1, faults.total())


if __name__ == "__main__":
    sys.exit(main())
