"""Whatever a file holds, whoever reads it works or says what is wrong with it, soon and in little memory."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import hostile_readers
import pytest
import torch
from hostile_files import MUTATIONS, Mutation, mutations
from hostile_readers import READERS, outcomes, target, warm_up
from small_checkpoints import LORA_TARGETS, PREFIX, File, Stored, small_checkpoints, stored

from varifold.models.checkpoint import CheckpointError, autoencoder, inspect, load_autoencoder, load_denoiser, report
from varifold.models.checkpoint.families import LAYOUTS
from varifold.models.checkpoint.header import MAX_TENSORS, read_header
from varifold.models.checkpoint.lora import with_lora
from varifold.models.checkpoint.spec import KEY
from varifold.models.checkpoint.weights import reading
from varifold.models.generating import load_generator

torch.set_num_threads(1)

COUNT = 1600
ALONE = ("KL", "TAESD")  # autoencoders without a denoiser


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    warm_up(tmp_path_factory.mktemp("warm") / "warm.safetensors")


@pytest.fixture
def written(tmp_path):
    def write(file: File):
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(file.packed())
        return path

    return write


@pytest.mark.parametrize("kind", small_checkpoints())
def test_before_they_are_changed_the_files_are_whole(kind, written):
    path = written(small_checkpoints()[kind])
    if kind in LORA_TARGETS:
        denoiser = target(kind)
        changed, said = with_lora(denoiser, path, 1.0)
        assert "matched nothing: 0" in said and changed.net is not denoiser.net
    elif kind.startswith("Generator"):
        assert load_generator(path).kind == {"VAE": "vae", "plain": "autoencoder", "GAN": "gan"}[kind.split()[1]]
    elif kind.startswith(ALONE):
        assert load_autoencoder(path).family.startswith(kind.split(" ")[0].strip(","))
    else:
        assert load_denoiser(path).net.config == inspect(path).net.config
        assert "unused tensors: 0" in report(path) or kind == "SD XL, single file"  # a mark is no weight
    assert ("autoencoder: KL" in report(path)) if kind == "SD 1, checkpoint" else True


@pytest.mark.parametrize("kind", [kind for kind in small_checkpoints() if kind.startswith("Generator")])
def test_a_generator_is_told_from_a_denoiser_and_an_autoencoder(kind, written):
    path = written(small_checkpoints()[kind])
    for reader in (load_denoiser, load_autoencoder, inspect, report):
        with pytest.raises(CheckpointError, match=r"is a generator of.*load it with Load Generator"):
            reader(path)
    path = written(small_checkpoints()["Varifold's own U-Net"])
    with pytest.raises(CheckpointError, match=r"is a denoiser and no generator: load it with Load Denoiser"):
        load_generator(path)


def test_there_is_a_small_file_for_every_layout(written):
    headers = [read_header(written(file)) for file in small_checkpoints().values()]

    def fits(match, *given) -> bool:
        found = []
        for header in headers:
            try:
                found.append(match(header, *given))
            except ValueError:
                found.append(None)
        return any(found)

    assert all(fits(match) for match in LAYOUTS.values())
    assert all(fits(match, "") for match in autoencoder.LAYOUTS)


def test_the_same_seed_gives_the_same_files():
    def digests(seed: int) -> list[str]:
        return [sha256(each.data).hexdigest() for each in mutations(40, seed)]

    before = digests(0)
    assert digests(1) != before == digests(0)
    assert len(set(before)) > 30


def test_hostile_files_are_read_or_refused(tmp_path):
    """`python tests/bench/hostile_files.py` tries more of them."""
    faults, ends, tried = [], [], set()
    for hostile in mutations(COUNT):
        tried.add(hostile.mutation)
        for outcome in outcomes(tmp_path / "hostile.safetensors", hostile):
            ends.append((outcome.reader, outcome.read))
            faults += [
                f"{hostile.number} {hostile.kind} {hostile.mutation} {outcome.reader}: {fault}"
                for fault in outcome.faults
            ]
    assert not faults, "\n".join(faults[:20])
    assert tried == {mutation.__name__ for mutation in MUTATIONS}
    for reader in READERS:
        assert ends.count((reader, True)) > 10 and ends.count((reader, False)) > COUNT / 2, reader
    assert os.listdir(tmp_path) == ["hostile.safetensors"]


def misread(path, kind, rng):
    raise KeyError("a tensor")


def mumble(path, kind, rng):
    raise CheckpointError("no")


def shout(path, kind, rng):
    raise CheckpointError(f"{path} holds {'x' * 5000}\x1b[2J")


def hoard(path, kind, rng):
    torch.ones(10_000_000)


def build_high(path, kind, rng):
    for _ in range(2000):
        torch.empty(1000, device="meta")


def scribble(path, kind, rng):
    path.with_suffix(".note").write_text("I was here")


def dawdle(path, kind, rng):
    sum(range(2_000_000))


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        (misread, "KeyError: 'a tensor'"),
        (mumble, "does not name the file"),
        (mumble, "says nothing"),
        (shout, "a message of 5"),
        (shout, "not printable"),
        (hoard, "allocated 40000000 bytes for"),
        (build_high, "nets of 2000000 elements"),
        (build_high, "nets of 2000 tensors"),
        (scribble, "wrote: open "),
        (dawdle, "took 0."),
    ],
)
def test_a_reader_that_goes_astray_is_noticed(reader, fault, tmp_path, monkeypatch):
    monkeypatch.setattr(hostile_readers, "READERS", {"astray": reader})
    monkeypatch.setattr(hostile_readers, "SECONDS", 0.005)
    kind = "TAESD, decoder alone"
    (outcome,) = outcomes(tmp_path / "a.safetensors", Mutation(0, kind, "none", small_checkpoints()[kind].packed()))
    assert any(fault in each for each in outcome.faults), outcome.faults


def respecified(**changes) -> File:
    file = small_checkpoints()["Varifold's own U-Net"]
    return file._replace(metadata={KEY: json.dumps({**json.loads(file.metadata[KEY]), **changes})})


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("latent_unet", {"width": 32, "multipliers": [1] * 6, "depths": [32] * 6, "middle_depth": 32, "blocks": 4}),
        ("latent_unet", {"width": 1024, "multipliers": [16] * 6, "depths": [32] * 6, "middle_depth": 32, "blocks": 4}),
        ("dit", {"width": 16, "depth": 128, "heads": 1, "classes": 1}),
        ("dit", {"width": 8192, "depth": 128, "heads": 128, "classes": 65536}),
        ("flux", {"width": 2, "heads": 1, "axes": [2, 0, 0], "double_blocks": 256, "single_blocks": 256, "hidden": 1}),
    ],
)
def test_a_net_that_the_file_cannot_fill_is_not_built(architecture, config, written):
    path = written(respecified(architecture=architecture, config=config, vocabulary=[]))
    with hostile_readers.Allocations() as allocations, pytest.raises(CheckpointError, match=r"hostile\.s.*are missing"):
        inspect(path)
    assert 0 < allocations.tensors < 2000


def test_blocks_that_are_only_claimed_are_not_built(written):
    tensors = small_checkpoints()["DiT, original"].tensors
    path = written(File({**tensors, "model.blocks.127.attn.qkv.bias": stored("F16", (192,))}))
    with hostile_readers.Allocations() as allocations, pytest.raises(CheckpointError, match="most tensors"):
        inspect(path)
    assert 0 < allocations.tensors < 2000


@pytest.mark.parametrize("depth", [40, 300, 900, 940, 960])
@pytest.mark.parametrize("field", ["extra", "shape", "multipliers"])
def test_a_spec_nested_too_deeply_is_refused(depth, field, written):
    changes = {"config": {"multipliers": "@"}} if field == "multipliers" else {field: "@"}
    file = respecified(**changes)
    spec = file.metadata[KEY].replace('"@"', "[" * depth + "]" * depth)
    path = written(file._replace(metadata={KEY: spec}))
    for use in (report, load_denoiser):
        with pytest.raises(CheckpointError, match=r"hostile\.safetensors.*nested|not JSON"):
            use(path)


def test_parts_of_one_weight_may_differ_in_dtype_and_in_ones_at_the_end(written):
    """As they do in files that were converted in part."""
    tensors = dict(small_checkpoints()["SD 1 inpainting, diffusers"].tensors)
    names = [name for name in tensors if name.endswith(("attn1.to_q.weight", "attn1.to_k.weight"))]
    for name, dtype in zip(names, ("F16", "BF16", "F32", "F16"), strict=False):
        tensors[name] = stored(dtype, (*tensors[name].shape, *[1] * (dtype != "F32")))
    assert load_denoiser(written(File(tensors))).shape == (4, 64, 64)


def test_names_of_any_length_make_short_reports_and_messages(written):
    long = "x\x1b[2J" * 4000
    tensors = small_checkpoints()["DiT, original"].tensors
    names = {f"{long}{number}": Stored("U8", (1,), b"\0") for number in range(30)}
    said = report(written(File({**tensors, **names})))
    assert "unused tensors: 30" in said and len(said) < 5000 and "\x1b" not in said
    with pytest.raises(CheckpointError) as caught:
        report(written(File({f"{long}.{name.removeprefix('model.')}": kept for name, kept in tensors.items()})))
    assert len(str(caught.value)) < 1500 and "\x1b" not in str(caught.value)
    file = respecified(**{f"{long}{number}": 1 for number in range(100)})
    said = report(written(file))
    assert len(said) < 5000 and "\x1b" not in said


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, bytes(8), small_checkpoints()["KL, single file"].packed()])
def test_a_file_that_is_replaced_after_its_header_was_read_is_refused(data, written):
    path = written(small_checkpoints()["DiT, original"])
    header = read_header(path)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"hostile\.safetensors was changed"), reading(path, header) as read:
        read("model.pos_embed")


def test_more_tensors_than_any_model_has_are_refused(written):
    many = {f"{PREFIX}{number}": Stored("U8", (0,), b"") for number in range(MAX_TENSORS + 1)}
    with pytest.raises(CheckpointError, match="lists 50001 tensors"):
        read_header(written(File(many)))
