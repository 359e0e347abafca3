"""Which part of a run a process does, as the command line or the program that started it says."""

from __future__ import annotations

from collections.abc import Mapping

AUTO = "auto"
TASK = "SLURM_ARRAY_TASK_"


def part_of(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """ "i/N" -> (i, N). "auto/N" takes i from the task of a Slurm job array, or from RANK; "auto" takes N too, from the
    size of the array or from WORLD_SIZE. Raises ValueError where that is no part, or not told."""
    index, _, count = text.partition("/")
    if index == AUTO and count.isdecimal():
        return _numbered(environment, int(count))
    if text == AUTO:
        return _told(environment)
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"{text!r} is not i/N with 0 <= i < N, for example 0/4, nor {AUTO} or {AUTO}/N")
    return int(index), int(count)


def _numbered(environment: Mapping[str, str], count: int) -> tuple[int, int]:
    name = next((name for name in (f"{TASK}ID", "RANK") if name in environment), None)
    if name is None:
        raise ValueError(f"{AUTO}/N wants the variable {TASK}ID of a Slurm job array, or RANK; none is set")
    index = _number(environment, name)
    if index >= count:
        raise ValueError(f"{name} is {index}, and the parts of {AUTO}/{count} are 0 to {count - 1}: number them so")
    return index, count


def _told(environment: Mapping[str, str]) -> tuple[int, int]:
    if f"{TASK}ID" in environment:
        return _of_job_array(environment)
    if "RANK" in environment:
        index, count = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
        if index >= count:
            raise ValueError(f"the environment says part {index} of {count}, which there is not")
        return index, count
    raise ValueError(f"{AUTO} wants the variables of a Slurm job array, or RANK and WORLD_SIZE; none is set")


def _of_job_array(environment: Mapping[str, str]) -> tuple[int, int]:
    task, first, last, step = (_number(environment, f"{TASK}{name}") for name in ("ID", "MIN", "MAX", "STEP"))
    if step == 0:
        raise ValueError(f"the variable {TASK}STEP should not be 0")
    if first > 1 or first == last:
        tasks = f"task {first} alone" if first == last else f"tasks {first} to {last}"
        raise ValueError(
            f"the job array has {tasks}, so it may repeat some of another, and does not tell of how many: "
            f"write --shard {AUTO}/N, with tasks from 0 to N - 1"
        )
    count = (last - first) // step + 1
    if environment.get(f"{TASK}COUNT", str(count)) != str(count):
        raise ValueError(
            f"the job array skips some of {first} to {last}: write --shard {AUTO}/N, with tasks from 0 to N - 1"
        )
    index, rest = divmod(task - first, step)
    if rest or not 0 <= index < count:
        raise ValueError(f"there is no task {task} in a job array from {first} to {last} in steps of {step}")
    return index, count


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        told = f"not {value!r}" if value else f"and is not set: write --shard i/N or {AUTO}/N"
        raise ValueError(f"the variable {name} should be a number, {told}")
    return int(value)
