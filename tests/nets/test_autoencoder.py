"""Autoencoders against diffusers' classes, in float64, in every layout; strips against the whole; wrong files."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from varifold.models.checkpoint import CheckpointError, Header, TensorInfo, read_header
from varifold.models.checkpoint.autoencoder import autoencoder_in, load_autoencoder
from varifold.models.denoising.autoencoder import STRIP, Autoencoder
from varifold.models.denoising.latents import LATENTS
from varifold.models.nets.kl_autoencoder import KLAutoencoder, KLAutoencoderConfig
from varifold.models.nets.tiny_autoencoder import TinyAutoencoder, TinyAutoencoderConfig

diffusers = pytest.importorskip("diffusers")

EXACT = 1e-9
PREFIXES = ("", "first_stage_model.", "vae.")
KL = {
    "sd": {"latent_channels": 4, "block_out_channels": (32, 64, 96, 96), "layers_per_block": 2},
    "flux": {
        "latent_channels": 16,
        "block_out_channels": (64, 32),
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
}
# diffusers' names -> the authors', written down from their repository, CompVis/latent-diffusion
KL_NAMES = (
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.resnets\.", ".block."),
    (r"\.downsamplers\.0\.", ".downsample."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.down_blocks\.", ".down."),
)
OLD_NAMES = (
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".proj_attn."),
)


def randomised(net: torch.nn.Module) -> torch.nn.Module:
    """Every parameter random, of a size that keeps the values that go through."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        parameter.requires_grad_(False).normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
    for layer in net.modules():
        if isinstance(layer, torch.nn.GroupNorm):
            layer.weight.add_(1)
    return net.eval()


def kl_oracle(kind: str, **changes: object) -> torch.nn.Module:
    levels = len(KL[kind]["block_out_channels"])
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    return randomised(diffusers.AutoencoderKL(**KL[kind], **blocks, **changes).double())


def tiny_oracle(channels: int) -> torch.nn.Module:
    widths = {"encoder_block_out_channels": (16,) * 4, "decoder_block_out_channels": (16,) * 4}
    return randomised(diffusers.AutoencoderTiny(latent_channels=channels, **widths).double())


def renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def as_authors(net: torch.nn.Module) -> dict[str, Tensor]:
    levels, tensors = len(net.config.block_out_channels), {}
    for name, tensor in net.state_dict().items():
        name = re.sub(r"\.up_blocks\.(\d+)\.", lambda found: f".up.{levels - 1 - int(found[1])}.", name)
        name = renamed(name, KL_NAMES)
        tensors[name] = tensor[..., None, None] if "attn_1" in name and tensor.ndim == 2 else tensor
    return tensors


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor.contiguous() for name, tensor in tensors.items()}


def distance(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def check_kl(autoencoder: Autoencoder, oracle: torch.nn.Module) -> None:
    scale = autoencoder.downscale
    x = torch.rand(2, 3, 5 * scale, 3 * scale, dtype=torch.float64) * 2 - 1
    moments = oracle.encode(x).latent_dist
    mean, log_variance = autoencoder.net.moments(x)
    assert distance(mean, moments.mean) < EXACT
    assert distance(log_variance, moments.logvar) < EXACT
    z = torch.randn_like(mean)
    assert distance(autoencoder.net.decode(z), oracle.decode(z).sample) < EXACT


@pytest.mark.parametrize("kind", KL)
@pytest.mark.parametrize("layout", ["single file", "diffusers", "old diffusers"])
def test_kl_is_that_of_diffusers(kind, layout, tmp_path):
    oracle = kl_oracle(kind)
    tensors = as_authors(oracle) if layout == "single file" else oracle.state_dict()
    if layout == "old diffusers":
        tensors = {renamed(name, OLD_NAMES): tensor for name, tensor in tensors.items()}
    save_file(with_prefix("", tensors), tmp_path / "vae.safetensors")
    autoencoder = load_autoencoder(tmp_path / "vae.safetensors", dtype=torch.float64)
    assert autoencoder.channels == KL[kind]["latent_channels"]
    assert autoencoder.downscale == {"sd": 8, "flux": 2}[kind]
    assert (autoencoder.dtype, autoencoder.device.type) == (torch.float64, "cpu")
    assert autoencoder.family.endswith(layout.split()[-1])
    check_kl(autoencoder, oracle)


def test_an_attention_of_mixed_dtypes_and_shapes(tmp_path):
    oracle, path = kl_oracle("flux"), tmp_path / "vae.safetensors"
    tensors = with_prefix("", as_authors(oracle))
    attention = "decoder.mid.attn_1."
    tensors[f"{attention}k.weight"] = tensors[f"{attention}k.weight"].to(torch.float8_e4m3fn)
    tensors[f"{attention}v.weight"] = tensors[f"{attention}v.weight"][..., 0, 0].contiguous()
    save_file(tensors, path)
    layer = oracle.decoder.mid_block.attentions[0].to_k.weight
    layer.copy_(layer.to(torch.float8_e4m3fn))
    check_kl(load_autoencoder(path, dtype=torch.float64), oracle)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("layout", ["single file", "diffusers"])
def test_a_full_checkpoint_brings_its_autoencoder(prefix, layout, tmp_path):
    oracle, path = kl_oracle("flux"), tmp_path / "full.safetensors"
    tensors = with_prefix(prefix, as_authors(oracle) if layout == "single file" else oracle.state_dict())
    others = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1),
        "loss.logvar": torch.zeros(()),
        "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2, 2),
    }
    save_file(tensors | others, path)
    match = autoencoder_in(read_header(path))
    assert [name for name in read_header(path).tensors if not match.owns(name)] == sorted(others)
    assert f"{prefix}decoder.up" in match.proof
    check_kl(load_autoencoder(path, dtype="float64"), oracle)
    check_kl(load_autoencoder(path, dtype="float64", prefix=prefix), oracle)
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        load_autoencoder(path, prefix="elsewhere.")


def tiny_files(oracle: torch.nn.Module, layout: str) -> list[dict[str, Tensor]]:
    """The files of a TAESD. diffusers keeps the layers in the authors' order, less the decoder's first."""
    halves = {"encoder": {}, "decoder": {}}
    for name, tensor in oracle.state_dict().items():
        half, _, number, rest = name.split(".", 3)
        halves[half][f"{int(number) + (half == 'decoder')}.{rest}"] = tensor
    if layout == "diffusers":
        return [oracle.state_dict()]
    if layout == "two files":
        return [halves["encoder"], halves["decoder"]]
    start = {"one file": "", "ComfyUI": "taesd_"}[layout]
    return [{f"{start}{half}.{name}": tensor for half in halves for name, tensor in halves[half].items()}]


@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize("layout", ["diffusers", "two files", "one file", "ComfyUI"])
@pytest.mark.parametrize("prefix", ["", "vae."])
def test_tiny_is_that_of_diffusers(channels, layout, prefix, tmp_path):
    oracle = tiny_oracle(channels)
    x = torch.rand(2, 3, 40, 24, dtype=torch.float64) * 2 - 1
    z = 2 * torch.randn(2, channels, 5, 3, dtype=torch.float64)
    works = []
    for number, tensors in enumerate(tiny_files(oracle, layout)):
        path = tmp_path / f"{number}.safetensors"
        save_file(with_prefix(prefix, tensors), path)
        autoencoder = load_autoencoder(path, dtype=torch.float64)
        assert autoencoder.latents == LATENTS[{4: "sd1", 16: "flux"}[channels]]
        for work, given, theirs in (("encode", x, oracle.encode(x).latents), ("decode", z, oracle.decode(z).sample)):
            if layout == "two files" and work != ("encode", "decode")[number]:
                with pytest.raises(ValueError, match=f"has no {work}r"):
                    getattr(autoencoder.net, work)(given)
                continue
            assert distance(getattr(autoencoder.net, work)(given), theirs) < EXACT
            works.append(work)
    assert works == ["encode", "decode"]


def test_tiny_takes_latents_as_they_are_on_wires(tmp_path):
    oracle, path = tiny_oracle(4), tmp_path / "taesd.safetensors"
    save_file(with_prefix("", oracle.state_dict()), path)
    (doubt,) = autoencoder_in(read_header(path)).doubts
    assert "choose in latents" in doubt
    z = 4 * torch.randn(1, 4, 3, 3)
    for latents, scale in (("auto", 0.18215), ("sdxl", 0.13025)):
        autoencoder = load_autoencoder(path, latents=latents)
        theirs = (oracle.decode(z.double() * scale).sample.movedim(1, -1) + 1) / 2
        assert distance(autoencoder.decode(z), theirs.clamp(0, 1)) < 1e-6
        rgb = torch.rand(1, 24, 16, 3)
        latent = oracle.encode(rgb.double().movedim(-1, 1) * 2 - 1).latents / scale
        assert distance(autoencoder.encode(rgb), latent) < 1e-6
    for latents, message in (("flux", "16 channels"), ("sd9", "sd1")):
        with pytest.raises(CheckpointError, match=message):
            load_autoencoder(path, latents=latents)


def test_tiny_with_a_scale_of_its_own(tmp_path):
    oracle, path = tiny_oracle(16), tmp_path / "taef1.safetensors"
    (tensors,) = tiny_files(oracle, "ComfyUI")
    own = {"vae_scale": torch.tensor(1.5305, dtype=torch.float64), "vae_shift": torch.tensor(0.0609)}
    save_file(with_prefix("", tensors | own), path)
    autoencoder = load_autoencoder(path, dtype=torch.float64)
    z = torch.randn(1, 16, 3, 3, dtype=torch.float64)
    scale, shift = float(own["vae_scale"]), float(own["vae_shift"])
    assert autoencoder.latents is None
    assert not autoencoder_in(read_header(path)).doubts
    assert distance(autoencoder.net.decode(z), oracle.decode((z - shift) * scale).sample) < EXACT
    x = torch.rand(1, 3, 24, 16, dtype=torch.float64)
    assert distance(autoencoder.net.encode(x), oracle.encode(x).latents / scale + shift) < EXACT


# Strips


def kl_net(dtype: torch.dtype) -> KLAutoencoder:
    net = KLAutoencoder(KLAutoencoderConfig(4, (32, 64, 64), 1))
    return randomised(net).to(dtype, memory_format=torch.channels_last)


def tiny_net(dtype: torch.dtype) -> TinyAutoencoder:
    return randomised(TinyAutoencoder(TinyAutoencoderConfig(4, 16))).to(dtype, memory_format=torch.channels_last)


@pytest.mark.parametrize("make", [kl_net, tiny_net])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize(("height", "width"), [(7, 5), (10, 3), (1, 3)])
def test_strips_are_the_whole(make, dtype, rounding, height, width):
    net = make(dtype)
    z = torch.randn(2, 4, height, width, dtype=dtype)
    x = torch.rand(2, 3, height * net.downscale, width * net.downscale, dtype=dtype) * 2 - 1
    picture, latent = net.decode(z), net.encode(x)
    for rows in (1, 3, 8, 17, 1000):
        assert distance(net.decode(z, rows), picture) < rounding
        assert distance(net.encode(x, rows), latent) < rounding


def test_strips_keep_their_digits_where_means_are_large():
    net = kl_net(torch.float64)
    for level in net.decoder.levels:
        for block in level.blocks:
            block.conv1.bias.add_(1000)
            block.conv2.bias.add_(300)
    exact = net.decode(torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    z = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float()
    net.float()
    assert distance(net.decode(z, 4), exact) < 2 * distance(net.decode(z), exact) + 1e-6


PEAK = """
import re, torch
from varifold.models.nets.kl_autoencoder import KLAutoencoder, KLAutoencoderConfig
torch.set_grad_enabled(False)
net = KLAutoencoder(KLAutoencoderConfig(4, (32, 64, 64, 64), 1)).to(memory_format=torch.channels_last)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
z = torch.randn(1, 4, 48, 64)
net.decode(z[:, :, :8, :8]), net.decode(z[:, :, :8, :8], 4)
start = peak()
net.decode(z, 16)
strips = peak()
net.decode(z)
print(strips - start, peak() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_strips_take_less_memory():
    """For the last size's map of 64 channels and little more."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    strips, whole = map(int, done.stdout.split())
    its_map = 64 * 384 * 512 * 4 // 1024
    assert 0.8 * its_map < strips < 2 * its_map < whole


# At work


@pytest.mark.parametrize("make", [kl_net, tiny_net])
def test_pictures_in_and_out(make):
    net = make(torch.float32)
    autoencoder = Autoencoder(net)
    side = 3 * net.downscale
    rgba = torch.rand(2, side + 3, side, 4)
    latents = autoencoder.encode(rgba)
    inner = rgba[:, 1 : 1 + side, :, :3].movedim(-1, 1) * 2 - 1
    assert latents.shape == (2, 4, 3, 3)
    assert latents.dtype == torch.float32
    assert distance(latents, net.encode(inner)) < 1e-5
    rgb = autoencoder.decode(latents.double())
    assert rgb.shape == (2, side, side, 3)
    assert rgb.dtype == torch.float32
    assert rgb.is_contiguous()
    assert distance(rgb, ((net.decode(latents) + 1) / 2).clamp(0, 1).movedim(1, -1)) < 1e-5
    assert 0 <= rgb.min() < rgb.max() <= 1
    assert distance(autoencoder.decode(latents[1:]), rgb[1:]) < 1e-5


def test_big_pictures_are_made_in_strips():
    net = tiny_net(torch.float32)
    asked = []

    def noted(work, given, rows):
        asked.append(rows)
        return type(net).__dict__[work](net, given, rows)

    net.encode, net.decode = (lambda given, rows, work=work: noted(work, given, rows) for work in ("encode", "decode"))
    autoencoder = Autoencoder(net)
    latents = autoencoder.encode(torch.rand(1, 120, 144, 3))
    big = autoencoder.decode(latents)
    small = autoencoder.decode(latents[..., :8])
    whole = autoencoder.decode(latents, strip=0)
    again = autoencoder.decode(latents[..., :8], strip=48)
    assert 120 * 64 <= STRIP < 120 * 144
    assert asked == [STRIP // 144, STRIP // 144, None, None, 48]
    assert distance(big, whole) < 1e-5
    assert distance(again, small) < 1e-5


def test_what_is_refused_at_work():
    autoencoder = Autoencoder(kl_net(torch.float32))
    with pytest.raises(ValueError, match=r"\[B, 4, h, w\], not of shape \[1, 16, 8, 8\]"):
        autoencoder.decode(torch.zeros(1, 16, 8, 8))
    with pytest.raises(ValueError, match="3×9 is too small"):
        autoencoder.encode(torch.zeros(1, 9, 3, 3))
    with pytest.raises(ValueError, match="its input has NaN"):
        autoencoder.decode(torch.full((1, 4, 4, 4), torch.nan))
    autoencoder.net.half()
    autoencoder.net.decoder.out.weight.fill_(60000)
    with pytest.raises(ValueError, match="float16: load it in bfloat16 or float32"):
        autoencoder.decode(torch.randn(1, 4, 4, 4))


# Files that are wrong


def small_files() -> dict[str, dict[str, Tensor]]:
    kl = kl_oracle("flux")
    return {"kl": as_authors(kl), "diffusers": kl.state_dict(), "tiny": tiny_files(tiny_oracle(4), "ComfyUI")[0]}


@pytest.mark.parametrize("layout", ["kl", "diffusers", "tiny"])
def test_every_tensor_is_missed(layout, tmp_path):
    tensors, path = with_prefix("vae.", small_files()[layout]), tmp_path / "vae.safetensors"
    for name in list(tensors)[:: 3 if layout == "tiny" else 5]:
        save_file({other: tensor for other, tensor in tensors.items() if other != name}, path)
        with pytest.raises(CheckpointError, match=re.escape(str(path))) as error:
            load_autoencoder(path)
        assert "missing" in str(error.value)
        assert name in str(error.value)


@pytest.mark.parametrize("layout", ["kl", "diffusers", "tiny"])
def test_tensors_that_are_odd_are_named(layout, tmp_path):
    tensors, path = with_prefix("", small_files()[layout]), tmp_path / "vae.safetensors"
    names = list(tensors)
    some = {names[0], names[len(names) // 2], names[-2], next(name for name in names if tensors[name].ndim == 1)}
    for name in some:
        tensor = tensors[name]
        for odd in (tensor[..., None, None, :], tensor.int(), torch.zeros(())):
            save_file(tensors | {name: odd}, path)
            with pytest.raises(CheckpointError, match=re.escape(name)):
                load_autoencoder(path)
        save_file(tensors | {name: torch.cat([tensor, tensor])}, path)
        with pytest.raises(
            CheckpointError, match="its config needs"
        ):  # this tensor or, where it told the config, another
            load_autoencoder(path)
        save_file(tensors | {name: torch.full_like(tensor, torch.inf)}, path)
        with pytest.raises(CheckpointError, match=re.escape(name) + " has NaN or infinity"):
            load_autoencoder(path)
    half = "taesd_decoder.3.pool.0" if layout == "tiny" else "encoder.extra"
    save_file(tensors | {f"{half}.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=f"belong to no layer of a .*{half}.weight"):
        load_autoencoder(path)


@pytest.mark.parametrize(
    "names",
    [
        {"decoder.up.99.block.0.conv1.weight": (1, 1, 3, 3), "decoder.conv_in.weight": (32, 4, 3, 3)},
        {"decoder.up.0.block.0.conv1.weight": (), "decoder.conv_in.weight": (32, 4, 3, 3)},
        {"decoder.up.0.x": (0,), "decoder.conv_in.weight": (32, 4, 3, 3, 3)},
        {"decoder.up.0.block.0.conv1.weight": (33, 1, 1, 1), "decoder.conv_in.weight": (33, 0, 0, 0)},
        {"decoder.up_blocks.0.resnets.0.conv1.weight": (2**40, 1, 1, 1), "decoder.conv_in.weight": (2**40, 4, 3, 3)},
        {"decoder.up_blocks.3.resnets.99.conv1.weight": (32, 32, 3, 3), "decoder.conv_in.weight": (32, 4, 3, 3)},
        {"taesd_decoder.3.conv.0.weight": ()},
        {"taesd_decoder.3.conv.0.weight": (64, 64, 3, 3), "taesd_decoder.1.weight": (64, 32, 3, 3)},
        {"3.conv.0.weight": (2**50, 1), "0.weight": (), "14.weight": (4, 1, 1, 1)},
    ],
)
def test_impossible_headers(names, tmp_path):
    with pytest.raises(ValueError, match=r"decoder|width|blocks|latent|weight"):
        match = autoencoder_in(Header({}, {name: TensorInfo("F32", shape, 0, 0) for name, shape in names.items()}))
        assert match is not None
        KLAutoencoderConfig(**match.config)


def test_files_without_an_autoencoder(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"model.weight": torch.zeros(2), "0.weight": torch.zeros(3, 3)}, path)
    assert autoencoder_in(read_header(path)) is None
    with pytest.raises(CheckpointError, match=r"other\.safetensors cannot be used: it holds no autoencoder"):
        load_autoencoder(path)
    with pytest.raises(CheckpointError, match="computes in float16"):
        load_autoencoder(path, dtype="int8")


def test_half_precision_files(tmp_path):
    oracle, path = kl_oracle("flux").bfloat16(), tmp_path / "vae.safetensors"
    save_file(with_prefix("vae.", as_authors(oracle)), path)
    stored = load_file(path)["vae.decoder.conv_in.weight"]
    for dtype in ("float32", "bfloat16"):
        autoencoder = load_autoencoder(path, dtype=dtype)
        assert autoencoder.dtype == getattr(torch, dtype)
        assert torch.equal(autoencoder.net.decoder.stem.weight.float(), stored.float())
        z = torch.randn(1, 16, 4, 4)
        theirs = (oracle.double().decode(z.double()).sample.movedim(1, -1) + 1) / 2
        assert distance(autoencoder.decode(z), theirs.clamp(0, 1)) < {"float32": 1e-5, "bfloat16": 0.03}[dtype]
