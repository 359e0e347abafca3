"""Nodes called as a host calls them: under inference mode, with a StudioHost, widgets at their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from varifold.models.checkpoint import Spec, load_denoiser, save_denoiser
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.nodes import NODE_CLASS_MAPPINGS
from varifold.nodes import host as node_host
from varifold.studio.host import StudioHost

torch.set_num_threads(1)


def default(declared: tuple):
    kind, *options = declared
    return kind[0] if isinstance(kind, list) else options[0].get("default")


@pytest.fixture
def events() -> list[tuple[str, dict]]:
    """What the host's listener heard."""
    return []


@pytest.fixture(autouse=True)
def host(events, tmp_path, monkeypatch):
    """The StudioHost in use, with an empty folder of models."""
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("VARIFOLD_MODELS", str(models))
    host = StudioHost(lambda event, data: events.append((event, data)))
    node_host.use(host)
    yield host
    node_host.use(None)


@pytest.fixture
def models_folder(host, tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture(scope="session")
def embedded() -> Denoiser:
    return load_denoiser()


@pytest.fixture(scope="session")
def call() -> Callable[..., tuple]:
    """`call("Solver", eta=0.0)` gives the outputs of VarifoldSolver, widgets not named being at their defaults."""

    def call(name: str, **given) -> tuple:
        node = NODE_CLASS_MAPPINGS[f"Varifold{name}"]
        widgets = {key: default(declared) for key, declared in node.INPUT_TYPES()["required"].items()}
        with torch.inference_mode():
            outputs = getattr(node(), node.FUNCTION)(**widgets | given)
        return outputs["result"] if isinstance(outputs, dict) else outputs

    return call


@pytest.fixture(scope="session")
def draw(call, embedded) -> Callable[..., tuple]:
    """`draw(seed=3)` gives the outputs of the Sampler: three Euler steps of the embedded denoiser, unguided."""
    usual = {
        "denoiser": embedded,
        "sigmas": torch.tensor([80.0, 5.0, 0.5, 0.0]),
        "solver": "euler",
        "guidance": 1.0,
    }
    return lambda **given: call("Sampler", **usual | given)


@pytest.fixture(scope="session")
def prompt(call, embedded) -> Callable[..., list]:
    """The CONDITIONING of a text for the embedded denoiser."""
    return lambda text, unknown="nearest": call("Prompt", denoiser=embedded, text=text, unknown=unknown)[0]


@pytest.fixture(scope="session")
def save_small() -> Callable[..., None]:
    """Writes a denoiser of 8×8 pixels and two words: `save_small(path, seed=0, prediction="edm")`."""

    def save(path: Path, seed: int = 0, prediction: str = "edm") -> None:
        torch.manual_seed(seed)
        config = UNetConfig(width=16, multipliers=(1,), attention_levels=(), embedding=16, vocabulary=3)
        spec = Spec("unet", asdict(config), prediction, (4, 8, 8), 0.01, 20, vocabulary=("<null>", "hero", "robe"))
        net = UNet(config)
        torch.nn.init.normal_(net.out.weight)
        save_denoiser(path, net, spec, dtype=torch.float32)

    return save
