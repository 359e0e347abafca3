"""Sweep: labels × prompts × quota, one chunk of pictures an execution."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

LARGEST_SEED = 2**53  # what every reader of JSON keeps exactly


class Chunk(NamedTuple):
    """`count` pictures of one label, drawn from one prompt with one seed; `first` is the number of the first."""

    label: str
    prompt: str
    count: int
    first: int
    seed: int


@dataclass(frozen=True)
class Sweep:
    """`quota` pictures of each label, in equal parts by each prompt, in chunks of at most `size`.

    The labels take turns, so a sweep that is cut off is balanced too.
    """

    labels: tuple[str, ...]
    prompts: tuple[str, ...]
    quota: int
    size: int
    seed: int

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self.labels) * sum(map(self._chunks_of, range(len(self.prompts))))

    def __getitem__(self, index: int) -> Chunk:
        """Chunk `index`, from 0; past the last they begin again, with other seeds."""
        turn, label = divmod(index % len(self), len(self.labels))
        prompt = 0
        while turn >= self._chunks_of(prompt):
            turn -= self._chunks_of(prompt)
            prompt += 1
        count = min(self.size, self._share(prompt) - turn * self.size)
        text = self.prompts[prompt].replace("{label}", self.labels[label])
        return Chunk(self.labels[label], text, count, index * self.size, self._seed(index))

    def _share(self, prompt: int) -> int:
        return self.quota // len(self.prompts) + (prompt < self.quota % len(self.prompts))

    def _chunks_of(self, prompt: int) -> int:
        """How many chunks of a label a prompt makes."""
        return -(-self._share(prompt) // self.size)

    def _seed(self, index: int) -> int:
        digest = hashlib.sha256(f"{self.seed} {index}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % LARGEST_SEED


def sweep_of(inputs: Mapping[str, Any]) -> Sweep:
    """The sweep that a Sweep node makes of its widgets. Raises ValueError if there are no labels or no prompts."""
    labels, prompts = (
        tuple(dict.fromkeys(line.strip() for line in str(inputs[name]).splitlines() if line.strip()))
        for name in ("labels", "prompts")
    )
    if not labels:
        raise ValueError("labels is empty: write a label on each line")
    if not prompts:
        raise ValueError("prompts is empty: write a prompt on each line; {label} stands for the label")
    return Sweep(labels, prompts, int(inputs["quota"]), int(inputs["chunk"]), int(inputs["seed"]))


class VarifoldSweep:
    DESCRIPTION = (
        "Goes through labels and prompts, one chunk of pictures an execution: queue as often as there are chunks, "
        "or let `varifold run` do it. For labelled data sets of any size."
    )
    SEARCH_ALIASES = ["dataset", "labels", "classes", "prompt list", "batch prompts", "wildcards", "for loop"]
    CATEGORY = "Varifold/data"
    FUNCTION = "choose"
    RETURN_TYPES = ("STRING", "INT", "INT", "STRING", "STRING", "INT", "STRING")
    RETURN_NAMES = ("prompt", "seed", "batch", "labels", "captions", "chunks", "label")
    OUTPUT_IS_LIST = (False, False, False, True, True, False, False)
    OUTPUT_TOOLTIPS = (
        "The prompt of this chunk, for Prompt or CLIPTextEncode.",
        "The seed of this chunk, for Sampler: it follows from seed and index.",
        "How many pictures this chunk has, for Sampler; the last of a label may have fewer.",
        "The label of each picture: all those of a chunk are alike.",
        "What each picture shows in words: the prompt.",
        "How many chunks the sweep has.",
        "The label of this chunk once, for nodes that find objects by words.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "labels": (
                    "STRING",
                    {"default": "sword\nshield\npotion", "multiline": True, "tooltip": "The classes, one a line."},
                ),
                "prompts": (
                    "STRING",
                    {
                        "default": "{label}",
                        "multiline": True,
                        "tooltip": "Prompts, one a line; the word label in braces, as in the default, stands for the "
                        "label. Each label is drawn from all of them.",
                    },
                ),
                "quota": (
                    "INT",
                    {"default": 20, "min": 1, "max": 10_000_000, "tooltip": "How many pictures of each label."},
                ),
                "chunk": (
                    "INT",
                    {
                        "default": 10,
                        "min": 1,
                        "max": 4096,
                        "tooltip": "The most pictures of one execution: as many as fit in memory at once.",
                    },
                ),
                "index": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": "increment",
                        "tooltip": "Which chunk, from 0. After the last they begin again, with other seeds.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": "fixed",
                        "tooltip": "Another seed makes another set. Keep it while a set is made.",
                    },
                ),
            }
        }

    def choose(self, labels, prompts, quota, chunk, index, seed):
        sweep = sweep_of({"labels": labels, "prompts": prompts, "quota": quota, "chunk": chunk, "seed": seed})
        now, chunks = sweep[index], len(sweep)
        extra = "" if index < chunks else ", once more"
        plural = "" if now.count == 1 else "s"
        told = f"chunk {index % chunks + 1} of {chunks}{extra}: {now.count} picture{plural} of {now.label}"
        labels, captions = [now.label] * now.count, [now.prompt] * now.count
        return {
            "ui": {"text": [told]},
            "result": (now.prompt, now.seed, now.count, labels, captions, chunks, now.label),
        }
