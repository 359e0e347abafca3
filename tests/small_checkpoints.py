"""Small whole files of every family and layout that is read, with random weights.

Their names are the layouts' own, asked backwards: whether a layout means the right thing by them is for other tests.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch

from varifold.models.checkpoint import (
    dit_diffusers_layout,
    dit_layout,
    flux_diffusers_layout,
    flux_layout,
    kl_diffusers_layout,
    kl_layout,
    sd_diffusers_layout,
    sd_layout,
    tiny_layout,
)
from varifold.models.checkpoint.spec import GENERATOR_KEY, KEY, Spec
from varifold.models.generating.spec import GeneratorSpec
from varifold.models.nets import ARCHITECTURES, AUTOENCODERS, GENERATORS, build
from varifold.models.nets.dit import DiTConfig
from varifold.models.nets.flux import FluxConfig
from varifold.models.nets.latent_unet import LatentUNetConfig

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F8_E4M3": torch.float8_e4m3fn}
PREFIX = "model.diffusion_model."

SD1 = {"width": 32, "multipliers": (1, 1), "depths": (1, 0), "blocks": 1}
SD2 = {"width": 64, "multipliers": (1,), "depths": (1,), "blocks": 1, "context": 1024, "heads": 0, "head_width": 64}
SDXL = {**SD2, "width": 32, "multipliers": (1, 2), "depths": (0, 1), "context": 2048, "vector": 2816}
DIT = {"width": 64, "depth": 2, "heads": 1, "classes": 3}
FLUX = {"width": 32, "heads": 2, "axes": (4, 6, 6), "double_blocks": 2, "single_blocks": 2, "hidden": 32}
FLUX |= {"tokens": 8, "vector": 8}
KL = {"widths": (32, 64), "blocks": 1}
UNET = {"width": 16, "multipliers": (1,), "attention_levels": (), "embedding": 16, "vocabulary": 3}
GENERATOR = {"sides": (8, 8), "width": 16, "multipliers": (1,), "embedding": 16, "vocabulary": 3}


class Stored(NamedTuple):
    """A tensor as a file has it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Tensors = dict[str, Stored]


class File(NamedTuple):
    """A .safetensors file taken apart."""

    tensors: Tensors
    metadata: dict[str, str] = {}

    def entries(self) -> dict:
        """What its header says."""
        entries, end = {"__metadata__": self.metadata} if self.metadata else {}, 0
        for name, (dtype, shape, data) in self.tensors.items():
            entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
            end += len(data)
        return entries

    def body(self) -> bytes:
        return b"".join(stored.data for stored in self.tensors.values())

    def packed(self) -> bytes:
        return packed(json.dumps(self.entries()), self.body())


def packed(header: str | bytes, body: bytes) -> bytes:
    """Header and body as the format joins them."""
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header)) + header + body


def stored(dtype: str, shape: Iterable[int]) -> Stored:
    """Random weights, small as those of a trained net."""
    values = (torch.randn(tuple(shape)) / 8).to(DTYPES[dtype])
    return Stored(dtype, tuple(shape), values.reshape(-1).view(torch.uint8).numpy().tobytes())


def small_checkpoint(
    architecture: str, config: dict, keys: Callable[[str], Iterable[str]], dtype: str, prefix: str = ""
) -> Tensors:
    """A net's tensors under the names that `keys` gives; what is made of several names is cut into as many parts."""
    known = ARCHITECTURES | AUTOENCODERS | GENERATORS
    with torch.device("meta"):
        net = build(architecture, config, known)
    shares = {"latent_unet": lambda: {"shift": net.shifts}, "dit": lambda: {"modulate": [6] * net.config.depth + [2]}}
    shares = shares.get(architecture, dict)()
    tensors = {}
    for name, tensor in net.state_dict().items():
        names = list(keys(name))
        parts = shares.get(name.partition(".")[0], [1]) if len(names) > 1 else [1]
        parts = parts if len(parts) == len(names) else [1] * len(names)
        for key, part in zip(names, parts, strict=True):
            rows = [tensor.shape[0] * part // sum(parts)] if tensor.ndim else []
            tensors[prefix + key] = stored(dtype, (*rows, *tensor.shape[1:]))
    return tensors


def _sd(layout: ModuleType, config: dict, prefix: str = "", **changes: object) -> Tensors:
    source = layout.sources(LatentUNetConfig(**config, **changes))
    return small_checkpoint("latent_unet", config | changes, lambda name: source(name).keys, "F8_E4M3", prefix)


def _dit(layout: ModuleType, prefix: str = "") -> Tensors:
    source = layout.sources(DiTConfig(**DIT))
    tensors = small_checkpoint("dit", DIT, lambda name: source(name).keys, "F16", prefix)
    return {**tensors, prefix + layout.NAMES.positions: stored("F32", (1, 16, 64))}


def _flux(layout: ModuleType, dtype: str, guidance: bool) -> Tensors:
    config = {**FLUX, "guidance": guidance}
    source = layout.sources(FluxConfig(**config))
    return small_checkpoint("flux", config, lambda name: source(name).keys, dtype)


def _kl(layout: ModuleType, dtype: str, prefix: str = "", **config: object) -> Tensors:
    return small_checkpoint("kl_autoencoder", KL | config, lambda name: layout.NAMING.keys(name, 2), dtype, prefix)


def _taesd(halves: dict[str, tiny_layout.Half], dtype: str, **config: object) -> Tensors:
    config |= {"width": 8, "encodes": "encoder" in halves, "decodes": "decoder" in halves}
    keys = lambda name: [tiny_layout.SCALE.get(name) or tiny_layout._key(name, halves)]  # noqa: E731
    return small_checkpoint("tiny_autoencoder", config, keys, dtype)


def _own(architecture: str, config: dict, dtype: str, **spec: object) -> File:
    config = asdict(ARCHITECTURES[architecture][0](**config))
    spec = Spec(architecture=architecture, config=config, shape=(4, 8, 8), sigma_min=0.01, sigma_max=20, **spec)
    return File(
        small_checkpoint(architecture, config, lambda name: [name], dtype), {"format": "pt", KEY: spec.to_json()}
    )


def _generator(architecture: str, dtype: str, **config: object) -> File:
    config = asdict(GENERATORS[architecture][0](**GENERATOR | config))
    spec = GeneratorSpec(architecture, config, (4, 8, 8), vocabulary=("no word", "hero", "robe"))
    return File(
        small_checkpoint(architecture, config, lambda name: [name], dtype),
        {"format": "pt", GENERATOR_KEY: spec.to_json()},
    )


LORA_TARGETS = {"LoRA of SD 1, kohya": "SD 1, checkpoint", "LoRA of Flux, diffusers": "Flux dev, diffusers"}


def _kohya(tensors: Tensors, prefix: str) -> Tensors:
    """A change of rank 2 of each weight whose name begins with `prefix`; some with a third factor."""
    changes: Tensors = {}
    for name, (_, shape, _) in tensors.items():
        if not name.startswith(prefix) or len(shape) < 2 or "_blocks." not in name:
            continue
        module = "lora_unet_" + name.removeprefix(prefix).removesuffix(".weight").replace(".", "_")
        has_middle = len(shape) == 4 and len(changes) % 2 == 0
        changes[f"{module}.alpha"] = stored("F32", ())
        changes[f"{module}.lora_up.weight"] = stored("F16", (shape[0], 2, *([1, 1] if len(shape) == 4 else [])))
        changes[f"{module}.lora_down.weight"] = stored("F16", (2, shape[1], *([1, 1] if has_middle else shape[2:])))
        if has_middle:
            changes[f"{module}.lora_mid.weight"] = stored("F16", (2, 2, *shape[2:]))
    return changes


def _peft(tensors: Tensors) -> Tensors:
    changes: Tensors = {}
    for name, (_, shape, _) in tensors.items():
        if "attn." in name and len(shape) == 2:
            module = f"transformer.{name.removesuffix('.weight')}"
            changes[f"{module}.lora_A.weight"] = stored("BF16", (2, shape[1]))
            changes[f"{module}.lora_B.weight"] = stored("BF16", (shape[0], 2))
    return changes


@cache
def small_checkpoints() -> dict[str, File]:
    """What a file is -> the file; the same bytes every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _small_checkpoints()


def _small_checkpoints() -> dict[str, File]:
    half = tiny_layout.Half
    words = ("no word", "hero", "robe")
    sd1, flux = _sd(sd_layout, SD1, PREFIX), _flux(flux_diffusers_layout, "F8_E4M3", guidance=True)
    return {
        "Varifold's own U-Net": _own("unet", UNET, "F16", prediction="edm", vocabulary=words),
        "Varifold's own DiT": _own("dit", DIT, "BF16", prediction="eps", channels="sd1", betas="linear"),
        "Generator, VAE": _generator("picture_autoencoder", "F32", latent_channels=4),
        "Generator, plain": _generator("picture_autoencoder", "F16", latent_channels=1, variational=False),
        "Generator, GAN": _generator("gan", "BF16", noise=8),
        "SD 1, checkpoint": File({**sd1, **_kl(kl_layout, "F8_E4M3", "first_stage_model.")}, {"format": "pt"}),
        "SD 1 inpainting, diffusers": File(_sd(sd_diffusers_layout, SD1, image_channels=5)),
        "SD 2, single file": File(_sd(sd_layout, SD2)),
        "SD XL, single file": File({**_sd(sd_layout, SDXL, PREFIX), "v_pred": Stored("F32", (0,), b"")}),
        "SD XL, diffusers": File(_sd(sd_diffusers_layout, SDXL)),
        "DiT, original": File(_dit(dit_layout, "model.")),
        "DiT, diffusers": File(_dit(dit_diffusers_layout)),
        "Flux schnell, single file": File(_flux(flux_layout, "BF16", guidance=False)),
        "Flux dev, diffusers": File(flux),
        "KL, single file": File(_kl(kl_layout, "F16")),
        "KL of 16 channels, diffusers": File(_kl(kl_diffusers_layout, "BF16", latent_channels=16, quant=False)),
        "TAESD, diffusers": File(
            _taesd({"encoder": half("encoder.layers."), "decoder": half("decoder.layers.", -1)}, "F16")
        ),
        "TAESD, ComfyUI": File(
            _taesd(
                {"encoder": half("taesd_encoder."), "decoder": half("taesd_decoder.")},
                "F32",
                latent_channels=16,
                scaled=True,
            )
        ),
        "TAESD, decoder alone": File(_taesd({"decoder": half("")}, "F32")),
        "LoRA of SD 1, kohya": File(_kohya(sd1, PREFIX)),
        "LoRA of Flux, diffusers": File(_peft(flux)),
    }
