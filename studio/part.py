"""Which part of a run a process does, as the command line or the program that started it says."""

from __future__ import annotations

from collections.abc import Mapping

AUTO = "auto"


def part_of(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """ "i/N" -> (i, N); "auto": what Slurm says of a job array, else RANK and WORLD_SIZE. Raises ValueError."""
    if text != AUTO:
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise ValueError(f"{text!r} is not i/N with 0 <= i < N, for example 0/4, nor {AUTO}")
        return int(index), int(count)
    if "SLURM_ARRAY_TASK_ID" in environment:
        task, first, last, step = (
            _number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX", "STEP")
        )
        count = (last - first) // step + 1
        if environment.get("SLURM_ARRAY_TASK_COUNT", str(count)) != str(count):
            raise ValueError(f"the job array skips some of {first} to {last}: name each part, with --shard i/N")
        return _checked((task - first) // step, count)
    if "RANK" in environment:
        return _checked(_number(environment, "RANK"), _number(environment, "WORLD_SIZE"))
    raise ValueError(f"{AUTO} wants the variables of a Slurm job array, or RANK and WORLD_SIZE; none is set")


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal() or (name.endswith("STEP") and int(value) == 0):
        raise ValueError(f"the variable {name} should be a number, not {value!r}")
    return int(value)


def _checked(index: int, count: int) -> tuple[int, int]:
    if not 0 <= index < count:
        raise ValueError(f"the environment says part {index} of {count}, which there is not")
    return index, count
