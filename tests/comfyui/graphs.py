"""Prompts for a real ComfyUI, built from Python, and what came of them."""

from __future__ import annotations

import numpy as np

from .server import ComfyServer, Run

EMBEDDED = "Varifold pixel art (embedded)"


def node(class_type: str, **inputs: object) -> dict:
    """A node of a prompt; an input of None is left unconnected."""
    given = {name: value for name, value in inputs.items() if value is not None}
    return {"class_type": class_type, "inputs": given}


def load(file: str = EMBEDDED, precision: str = "auto") -> dict:
    return node("VarifoldLoadDenoiser", file=file, precision=precision, prediction="auto")


def words(text: str) -> dict:
    return node("VarifoldPrompt", denoiser=["load", 0], text=text, unknown="error")


def schedule(curve: str = "karras", steps: int = 6, denoise: float = 1.0, **changes: object) -> dict:
    inputs = {"denoiser": ["load", 0], "sigma_max": 0.0, "sigma_min": 0.0, "rho": 7.0, "shift": 1.0}
    inputs |= {"betas": "scaled_linear", "zero_terminal_snr": False, "points": "[[0, 80], [1, 0.002]]"}
    return node("VarifoldSchedule", curve=curve, steps=steps, denoise=denoise, **{**inputs, **changes})


def sampler(**changes: object) -> dict:
    inputs = {"denoiser": ["load", 0], "sigmas": ["schedule", 0], "positive": ["words", 0], "solver": "euler"}
    inputs |= {"guidance": 1.5, "seed": 5, "batch": 1, "width": 0, "height": 0}
    return node("VarifoldSampler", **{**inputs, **changes})


def keep(source: str = "sampler") -> dict:
    return node("ProbeKeep", image=[source, 0], mask=[source, 1], latent=[source, 2])


def drawing(**changes: object) -> dict:
    """One small robed hero, kept by the node "keep"; `changes` are inputs of the node "sampler"."""
    return {
        "load": load(),
        "words": words("hero robe"),
        "schedule": schedule(),
        "sampler": sampler(**changes),
        "keep": keep(),
    }


def kept(server: ComfyServer, run: Run, keeper: str = "keep") -> dict[str, np.ndarray]:
    """What a ProbeKeep node of a run got: arrays by input name."""
    assert run.error is None, run.error
    return dict(np.load(server.output / run.outputs[keeper]["kept"][0]))


def draw(server: ComfyServer, prompt: dict) -> dict[str, np.ndarray]:
    """Run a prompt and return what its node "keep" got."""
    return kept(server, server.run(prompt))


def failure(server: ComfyServer, prompt: dict, node_id: str = "sampler") -> str:
    """Run a prompt that must fail at the node `node_id`, and return the message that the user reads."""
    error = server.run(prompt).error
    assert error is not None, "it ran"
    assert error["node_id"] == node_id, error
    return error["exception_message"]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays of one shape."""
    assert a.shape == b.shape
    return float(np.abs(a - b).max())
