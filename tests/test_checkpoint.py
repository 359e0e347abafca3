"""Checkpoints: what is written comes back, and no file can do worse than be refused."""

import json
import os
import random
import struct
import time
import tracemalloc
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from varifold.models.checkpoint import (
    CheckpointError,
    Spec,
    file,
    identity,
    load_denoiser,
    read_header,
    report,
    save_denoiser,
    weights,
)
from varifold.models.nets.unet import UNet, UNetConfig

CONFIG = UNetConfig(width=16, multipliers=(1,), attention_levels=(), embedding=16, vocabulary=3)
SPEC = Spec(
    architecture="unet",
    config=asdict(CONFIG),
    prediction="edm",
    shape=(4, 8, 8),
    sigma_min=0.01,
    sigma_max=20,
    vocabulary=("<null>", "hero", "robe"),
    title="Ünïcode hero",
    extra={"of_a_newer_version": [1, 2]},
)


def small_net() -> UNet:
    torch.manual_seed(0)
    net = UNet(CONFIG)
    torch.nn.init.normal_(net.out.weight)
    return net


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "small.safetensors"
    save_denoiser(path, small_net(), SPEC, dtype=torch.float32)
    return path


def parts(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict | str | bytes, payload: bytes = b"") -> bytes:
    text = json.dumps(header) if isinstance(header, dict) else header
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text + payload


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), payload=8, **more) -> bytes:
    return joined({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}}, bytes(payload))


def two(first: list, second: list, payload: int) -> bytes:
    entries = {
        name: {"dtype": "U8", "shape": [o[1] - o[0]], "data_offsets": o} for name, o in (("a", first), ("b", second))
    }
    return joined(entries, bytes(payload))


ONE = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
HOSTILE = {
    "empty": (b"", "empty"),
    "five bytes": (b"\x01\x00\x00\x00\x00", "too few"),
    "length beyond the file": (struct.pack("<Q", 10**6) + b"{}", "cut short"),
    "length beyond the limit": (struct.pack("<Q", 2**63) + b"{}" * 9, "limit"),
    "length of all ones": (b"\xff" * 30, "limit"),
    "length zero": (struct.pack("<Q", 0) + b"{}", "not JSON"),
    "not JSON": (joined("{nonsense}"), "not JSON"),
    "not UTF-8": (joined(b'{"\xff":1}'), "UTF-8"),
    "UTF-16": (joined('{"a":1}'.encode("utf-16-le")), "JSON"),
    "a list": (joined("[1, 2, 3]"), "object"),
    "deep nesting": (joined("[" * 100_000), "JSON"),
    "deep objects": (joined('{"a":' * 50_000), "JSON"),
    "a giant number": (joined('{"a":' + "9" * 100_000 + "}"), "JSON|described"),
    "NaN": (joined('{"a":NaN}'), "NaN"),
    "a name twice": (joined(f'{{"a":{ONE},"a":{ONE}}}', b"\0"), "twice"),
    "a field twice": (joined('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"\0"), "twice"),
    "metadata of numbers": (joined({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata no table": (joined({"__metadata__": "a"}), "__metadata__"),
    "no tensor table": (joined({"a": 3}), "described"),
    "no dtype": (joined({"a": {"shape": [1], "data_offsets": [0, 1]}}, b"\0"), "described"),
    "a field too many": (tensor(more=1), "described"),
    "unknown dtype": (tensor("F37"), "unknown dtype"),
    "dtype with a terminal escape": (tensor("\x1b[2J\ud800"), "unknown dtype"),
    "negative shape": (tensor(shape=(-1, -2)), "shape"),
    "a shape of floats": (tensor(shape=(2.0,)), "shape"),
    "a shape of bools": (tensor(shape=(True, 2)), "shape"),
    "overflowing shape": (tensor(shape=(2**32, 2**32), offsets=(0, 0), payload=0), "shape"),
    "overflow hidden by zero": (tensor(shape=(0, 2**60, 2**60), offsets=(0, 0), payload=0), "shape"),
    "very many dimensions": (tensor(shape=(2,) * 50_000), "shape"),
    "huge offsets": (tensor(shape=(2**50,), offsets=(0, 2**52)), "cut short"),
    "negative offsets": (tensor(offsets=(-8, 0)), "data_offsets"),
    "three offsets": (tensor(offsets=(0, 4, 8)), "described"),
    "offsets out of order": (tensor(offsets=(8, 0)), "data_offsets"),
    "wrong byte count": (tensor(shape=(3,)), "need 12"),
    "half a byte": (tensor("F4", shape=(3,), offsets=(0, 2), payload=2), "need 1.5"),
    "overlap": (two([0, 4], [2, 6], 6), "overlap"),
    "gap": (two([0, 4], [6, 8], 8), "gap"),
    "gap at the start": (tensor(offsets=(8, 16), payload=16), "gap"),
    "cut tensors": (tensor(payload=5), "cut short"),
    "bytes too many": (tensor(payload=9), "belong to no tensor"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip"),
    "pickle": (b"\x80\x02}q\x00X\x05\x00\x00\x00state" + bytes(100), "pickle"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "GGUF": (b"GGUF\x03" + bytes(40), "GGUF"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "picture"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "gzip"),
    "workflow": (b'{"nodes": [], "links": []}', "JSON"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_headers_are_refused_by_name_quickly_and_in_little_memory(kind, tmp_path):
    data, reason = HOSTILE[kind]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_header(path)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "bad.safetensors" in str(caught.value) and len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)
    assert seconds < 2 and peak < 200_000 + 60 * len(data)


def test_missing_files_folders_pipes_and_bad_names_are_refused(tmp_path):
    pipe = tmp_path / "pipe"
    cases = {tmp_path: "folder", tmp_path / "none": "does not exist", "a\0b": "cannot be read"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
        cases[pipe] = "not a regular file"
    for path, reason in cases.items():
        for use in (read_header, load_denoiser, identity, report):
            with pytest.raises(CheckpointError, match=reason):
                use(path)


def test_forbidden_file_is_refused(valid, monkeypatch):
    def forbid(*_):
        raise PermissionError(13, "denied")

    monkeypatch.setattr(file, "open", forbid, raising=False)
    with pytest.raises(CheckpointError, match="permission"):
        read_header(valid)


def test_mutations_are_refused_or_read(valid, tmp_path):
    rng = random.Random(0)
    original = valid.read_bytes()
    header_size = 8 + int.from_bytes(original[:8], "little")
    path = tmp_path / "mutated.safetensors"
    refused = 0
    start = time.perf_counter()
    for _ in range(300):
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(header_size if rng.random() < 0.8 else len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at : at + rng.randrange(40)] = b""
                case 2:
                    data[at:at] = data[at : at + rng.randrange(40)]
                case 3:
                    data[at] = ord(rng.choice('0123456789-"{}[],:'))
        path.write_bytes(data)
        try:
            load_denoiser(path)
        except CheckpointError:
            refused += 1
    assert refused > 150
    assert time.perf_counter() - start < 60


def respecified(valid, path, **changes):
    """A copy of the valid file with other fields in its spec; None removes one."""
    header, payload = parts(valid.read_bytes())
    spec = {**json.loads(header["__metadata__"]["varifold.spec"]), **changes}
    text = json.dumps({name: value for name, value in spec.items() if value is not None})
    header["__metadata__"]["varifold.spec"] = text
    path.write_bytes(joined(header, payload))
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "update Varifold"),
        ({"version": "1"}, "version"),
        ({"version": None}, "lacks version"),
        ({"architecture": "perceptron"}, "unknown architecture"),
        ({"architecture": 3}, "architecture"),
        ({"config": []}, "config"),
        ({"config": {**asdict(CONFIG), "depth": 3}}, "depth"),
        ({"config": {**asdict(CONFIG), "width": 2048, "multipliers": [16] * 6}}, "missing"),
        ({"config": {**asdict(CONFIG), "embedding": 32}}, "shape"),
        ({"config": {**asdict(CONFIG), "width": 10**12}}, "width"),
        ({"prediction": "magic"}, "prediction"),
        ({"prediction": ["edm"]}, "prediction"),
        ({"space": "flow"}, "space"),
        ({"sigma_min": 0}, "sigma_min"),
        ({"sigma_min": 30}, "sigma_max"),
        ({"sigma_max": 10**400}, "sigma_max"),
        ({"sigma_max": "80"}, "sigma_max"),
        ({"sigma_data": False}, "sigma_data"),
        ({"shape": [4, 8]}, "shape"),
        ({"shape": [4, 8, 10**9]}, "shape"),
        ({"shape": [4, 9, 8]}, "shape"),
        ({"shape": 4}, "shape"),
        ({"channels": "cmyk"}, "channels"),
        ({"channels": "rgb"}, "channels"),
        ({"vocabulary": ["<null>", "hero"]}, "vocabulary has 2 words and its net 3"),
        ({"vocabulary": ["<null>", "hero", "hero"]}, "vocabulary"),
        ({"vocabulary": ["<null>", "hero", "a\x1b[2J"]}, "vocabulary"),
        ({"vocabulary": ["<null>", "hero", ["robe"]]}, "vocabulary"),
        ({"labels": ["x" * 300]}, "labels"),
        ({"labels": ["hero"]}, "1 labels and its net 0 classes"),
        ({"title": "x" * 10_000}, "title"),
    ],
)
def test_hostile_specs_are_refused_by_field(changes, reason, valid, tmp_path):
    path = respecified(valid, tmp_path / "bad.safetensors", **changes)
    for use in (load_denoiser, report):
        with pytest.raises(CheckpointError, match=reason) as caught:
            use(path)
        assert "bad.safetensors" in str(caught.value) and len(str(caught.value)) < 1000


def test_classes_may_have_long_names_and_share_them():
    labels = ("crane", "crane", "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias")
    assert replace(SPEC, labels=labels).labels == labels


def test_spec_that_is_not_json_is_refused(tmp_path):
    for text in ("", "{", "[1]", "[" * 100_000):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(joined({"__metadata__": {"varifold.spec": text}}))
        with pytest.raises(CheckpointError, match=r"varifold\.spec"):
            load_denoiser(path)


def test_saved_denoiser_comes_back(valid):
    net, denoiser = small_net(), load_denoiser(valid)
    assert denoiser.spec.to_json() == SPEC.to_json()
    assert (denoiser.shape, denoiser.sigma_min, denoiser.sigma_max) == ((4, 8, 8), 0.01, 20)
    for name, parameter in net.state_dict().items():
        assert torch.equal(denoiser.net.state_dict()[name], parameter), name
    assert denoiser.identity == identity(valid) and len(denoiser.identity) == 64
    x = torch.randn(1, 4, 8, 8)
    assert denoiser(x, 1.0, denoiser.prompt("hero")).shape == x.shape


def test_saving_is_all_or_nothing(valid, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(valid.read_bytes())
    broken = small_net()
    broken.out.weight.data[0] = 1e6
    for net, spec, reason in (
        (broken, SPEC, "out.weight has NaN or infinity"),
        (small_net(), replace(SPEC, config={**SPEC.config, "width": 32}), "shape"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            save_denoiser(path, net, spec)
    assert path.read_bytes() == valid.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_weights_stay_whole_when_the_file_is_overwritten(valid, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(valid.read_bytes())
    denoiser = load_denoiser(path)
    before = denoiser.net.stem.weight.clone()
    with open(path, "r+b") as writer:
        writer.write(bytes(path.stat().st_size))
    assert torch.equal(denoiser.net.stem.weight, before)


def test_denoisers_loaded_in_inference_mode_can_be_trained(valid):
    with torch.inference_mode():
        denoiser = load_denoiser(valid)
    denoiser.net.requires_grad_(True)
    denoiser(torch.randn(1, 4, 8, 8), 1.0).sum().backward()
    assert denoiser.net.stem.weight.grad is not None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_precision_is_the_users(dtype, valid):
    denoiser = load_denoiser(valid, dtype=dtype)
    assert {parameter.dtype for parameter in denoiser.net.parameters()} == {getattr(torch, dtype)}


def test_unknown_precision_is_refused(valid):
    for dtype in ("int8", torch.int64):
        with pytest.raises(CheckpointError, match="float16, bfloat16, float32, float64"):
            load_denoiser(valid, dtype=dtype)


def test_prediction_can_be_overruled(valid):
    denoiser = load_denoiser(valid, prediction="v")
    assert (denoiser.precondition.name, denoiser.spec.prediction) == ("v", "v")
    assert "v, chosen by you; the file says edm" in report(valid, prediction="v")
    for prediction in ("flow", "magic"):
        with pytest.raises(CheckpointError, match=prediction):
            load_denoiser(valid, prediction=prediction)


def test_sigma_data_is_the_files(valid, tmp_path):
    denoiser = load_denoiser(respecified(valid, tmp_path / "a.safetensors", sigma_data=2.0))
    assert denoiser.precondition.scalars(2.0).skip == pytest.approx(0.5)


def test_every_tensor_is_accounted_for(valid, tmp_path):
    header, payload = parts(valid.read_bytes())
    path = tmp_path / "a.safetensors"
    extra = {"dtype": "U8", "shape": [3], "data_offsets": [len(payload), len(payload) + 3]}
    path.write_bytes(joined({**header, "optimiser.step": extra}, payload + bytes(3)))
    assert load_denoiser(path).shape == (4, 8, 8)
    assert "unused tensors: 1 ('optimiser.step')" in report(path)

    header["stem.wait"] = header.pop("stem.weight")
    path.write_bytes(joined(header, payload))
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, the first is stem\.weight"):
        load_denoiser(path)


def test_report_names_fields_it_passed_over(valid):
    text = report(valid)
    assert "of_a_newer_version" in text and "Ünïcode hero" in text and "hero, robe" in text
    assert "Ünïcode hero" in report(load_denoiser(valid))


def test_nan_weights_are_refused(valid, tmp_path):
    header, payload = parts(valid.read_bytes())
    at = header["stem.bias"]["data_offsets"][0]
    path = tmp_path / "a.safetensors"
    path.write_bytes(joined(header, payload[:at] + b"\xff" * 4 + payload[at + 4 :]))
    with pytest.raises(CheckpointError, match=r"stem\.bias has NaN"):
        load_denoiser(path)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "a diffusion model"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("first_stage_model.decoder.conv_out.bias", "an autoencoder"),
        ("lora_unet_mid_block.alpha", "LoRA"),
        ("anything", "do not tell"),
    ],
)
def test_other_families_are_named_and_refused(name, family, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=f"{family}.*what is read: Varifold checkpoint"):
        load_denoiser(path)


def test_identity_is_hashed_once_until_the_file_changes(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    reads = []

    def counted(*arguments):
        reads.append(arguments)
        return open(*arguments)

    monkeypatch.setattr(file, "open", counted, raising=False)
    first = identity(path)
    assert identity(path) == first and len(reads) == 1
    path.write_bytes(b"other")
    assert identity(path) != first and len(reads) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_big_file_is_mapped_and_says_the_same(valid, monkeypatch, dtype):
    read = load_denoiser(valid, dtype=dtype)
    monkeypatch.setattr(weights, "BIG", 0)
    mapped = load_denoiser(valid, dtype=dtype)
    for name, tensor in read.net.state_dict().items():
        assert torch.equal(mapped.net.state_dict()[name], tensor)
    mapped.net.time_in.weight.add_(1)  # changes its own pages alone
    assert torch.equal(load_denoiser(valid, dtype=dtype).net.time_in.weight, read.net.time_in.weight)


def test_tensors_at_odd_places_are_mapped_too(tmp_path, monkeypatch):
    path = tmp_path / "odd.safetensors"
    header = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
        "c": {"dtype": "F32", "shape": [0, 2], "data_offsets": [11, 11]},
    }
    path.write_bytes(joined(header, b"\1\2\3" + struct.pack("<2f", 1.5, -2.0)))
    with weights.mapping(path, read_header(path)) as read:
        assert read("b").tolist() == [1.5, -2.0] and read("c").shape == (0, 2)


def test_the_identity_of_a_file_that_changed_after_loading_is_no_other_file_s(valid, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(valid.read_bytes())
    kept, changed = load_denoiser(path), load_denoiser(path)
    assert kept.identity == identity(valid)
    os.utime(path, ns=(1, 1))
    assert changed.identity not in (identity(path), kept.identity) and len(changed.identity) == 64
