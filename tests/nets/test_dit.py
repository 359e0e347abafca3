"""DiT and SiT against diffusers' class, in float64, in both layouts; SiT's conventions against its paper's formulas."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from varifold.models import load_denoiser, sample, solver
from varifold.models.checkpoint import CheckpointError, Header, TensorInfo, inspect, report
from varifold.models.checkpoint.families import recognise
from varifold.models.denoising.space import FLOW, VE
from varifold.models.nets import build
from varifold.models.nets.dit import DiT, DiTConfig, positions

diffusers = pytest.importorskip("diffusers")
from diffusers.models.embeddings import get_2d_sincos_pos_embed  # noqa: E402

CLASSES = 5
TIMES = torch.tensor([0, 417, 999])
SMALL = DiTConfig(width=128, depth=2, heads=2, classes=CLASSES)


def oracle(patch: int = 2, side: int = 8, variance: bool = True, original: bool = False) -> torch.nn.Module:
    """diffusers' DiT with random weights, or with `original` what DiT's own code does where diffusers differs."""
    torch.manual_seed(0)
    net = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=64,
        out_channels=8 if variance else 4,
        num_layers=2,
        sample_size=side,
        patch_size=patch,
        num_embeds_ada_norm=CLASSES,
    )
    net = net.double().eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
    for block in net.transformer_blocks:
        block.norm1.emb.load_state_dict(net.transformer_blocks[0].norm1.emb.state_dict())
        if original:
            block.norm1.emb.time_proj.downscale_freq_shift = 0
            block.norm3.eps = 1e-6
    grid = side // patch  # its own table is rounded to float32
    net.pos_embed.pos_embed = get_2d_sincos_pos_embed(128, grid, base_size=grid, output_type="pt").double()[None]
    return net


@contextmanager
def float64_alone():
    with mock.patch.object(torch, "float32", torch.float64), mock.patch.object(Tensor, "float", Tensor.double):
        yield


def says(net: torch.nn.Module, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
    with float64_alone():
        return net(x, times, labels).sample[:, :4]


def original_state(net: torch.nn.Module) -> dict[str, Tensor]:
    """diffusers' weights under the names of DiT's repository."""
    theirs = net.state_dict()
    embedders = "transformer_blocks.0.norm1.emb"
    names = {
        "x_embedder.proj": "pos_embed.proj",
        "t_embedder.mlp.0": f"{embedders}.timestep_embedder.linear_1",
        "t_embedder.mlp.2": f"{embedders}.timestep_embedder.linear_2",
        "final_layer.adaLN_modulation.1": "proj_out_1",
        "final_layer.linear": "proj_out_2",
    }
    for n in range(2):
        block = f"transformer_blocks.{n}"
        names[f"blocks.{n}.adaLN_modulation.1"] = f"{block}.norm1.linear"
        names[f"blocks.{n}.attn.proj"] = f"{block}.attn1.to_out.0"
        names[f"blocks.{n}.mlp.fc1"] = f"{block}.ff.net.0.proj"
        names[f"blocks.{n}.mlp.fc2"] = f"{block}.ff.net.2"
    state = {f"{ours}.{kind}": theirs[f"{name}.{kind}"] for ours, name in names.items() for kind in ("weight", "bias")}
    for n in range(2):
        for kind in ("weight", "bias"):
            parts = [theirs[f"transformer_blocks.{n}.attn1.to_{part}.{kind}"] for part in "qkv"]
            state[f"blocks.{n}.attn.qkv.{kind}"] = torch.cat(parts)
    state["y_embedder.embedding_table.weight"] = theirs[f"{embedders}.class_embedder.embedding_table.weight"]
    state["pos_embed"] = net.pos_embed.pos_embed
    return state


def written(path, state: dict[str, Tensor]):
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


def states(side: int = 8, count: int = 3) -> Tensor:
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def assert_same_net(ours: DiT, theirs: torch.nn.Module, x: Tensor) -> None:
    for label in range(CLASSES + 1):
        labels = torch.tensor([label, (label + 1) % (CLASSES + 1), label])
        said = ours(x, ours.embed(TIMES.double(), {"label": labels}), ours.context())
        expected = says(theirs, x, TIMES, labels)
        assert distance(said, expected) < 1e-9
        assert 0.2 < said.std() < 5
    said = ours(x, ours.embed(TIMES.double()))
    assert distance(said, says(theirs, x, TIMES, torch.full((3,), CLASSES))) < 1e-9
    assert distance(ours(x, ours.embed(TIMES.double(), {"label": torch.tensor([1])})), said) > 1e-2
    assert distance(ours(x, ours.embed(TIMES.flip(0).double())), said) > 1e-2


@pytest.mark.parametrize(("patch", "side", "variance"), [(2, 8, True), (4, 16, False)])
def test_reads_diffusers_files(tmp_path, patch, side, variance):
    theirs = oracle(patch, side, variance)
    path = written(tmp_path / "dit.safetensors", theirs.state_dict())
    assert_same_net(load_denoiser(path, dtype=torch.float64).net, theirs, states(side))
    assert inspect(path).unused == ()


@pytest.mark.parametrize(("patch", "side", "variance"), [(2, 8, True), (4, 16, False)])
@pytest.mark.parametrize("prefix", ["", "model.", "net.ema."])
def test_reads_files_of_the_original_repositories(tmp_path, prefix, patch, side, variance):
    theirs = oracle(patch, side, variance, original=True)
    state = {prefix + name: tensor for name, tensor in original_state(theirs).items()}
    path = written(tmp_path / "dit.safetensors", state)
    denoiser = load_denoiser(path, dtype=torch.float64)
    assert_same_net(denoiser.net, theirs, states(side))
    assert denoiser.shape == (4, side, side)
    assert inspect(path).unused == ()


def test_of_two_nets_in_a_file_the_average_is_read(tmp_path):
    theirs = oracle(original=True)
    state = original_state(theirs)
    other = {f"model.{name}": tensor + 1 for name, tensor in state.items()}
    path = written(tmp_path / "dit.safetensors", {f"ema.{name}": tensor for name, tensor in state.items()} | other)
    assert_same_net(load_denoiser(path, dtype=torch.float64).net, theirs, states())
    assert "2 such nets" in report(path) and "'ema.'" in report(path)


def test_dit_predicts_the_noise_of_its_own_levels(tmp_path):
    theirs = oracle(original=True)
    denoiser = load_denoiser(written(tmp_path / "dit.safetensors", original_state(theirs)), dtype=torch.float64)
    assert denoiser.space is VE
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    assert denoiser.sigma_max == pytest.approx(((1 - kept[-1]) / kept[-1]).sqrt().item(), rel=1e-9)
    x, label = states(), torch.tensor([0, 2, 4])
    for t in (0, 300, 999):
        noisy, share = x * (1 - kept[t]).sqrt(), kept[t]  # a state of DDPM, √ᾱ·x0 + √(1−ᾱ)·ε
        noise = says(theirs, noisy, torch.full((3,), t), label)
        x0 = (noisy - (1 - share).sqrt() * noise) / share.sqrt()
        sigma = ((1 - share) / share).sqrt().item()
        assert distance(denoiser(noisy / share.sqrt(), sigma, {"label": label}), x0) < 1e-9


def test_sit_is_a_flow_from_noise_to_picture(tmp_path):
    """SiT: x_t = t·x1 + (1−t)·x0 with x1 the picture and x0 the noise; the net is told t and says x1 − x0."""
    theirs = oracle(original=True)
    path = written(tmp_path / "sit.safetensors", original_state(theirs))
    denoiser = load_denoiser(path, dtype=torch.float64, prediction="flow")
    assert denoiser.space is FLOW and denoiser.sigma_max == 1
    x_t, label = states(), torch.tensor([0, 2, 4])
    for t in (0.0, 0.25, 0.875):
        velocity = says(theirs, x_t, torch.full((3,), t, dtype=torch.float64), label)
        picture = x_t + (1 - t) * velocity
        noise = x_t - t * velocity
        assert distance(t * picture + (1 - t) * noise, x_t) < 1e-12
        assert distance(denoiser(x_t, 1 - t, {"label": label}), picture) < 1e-9

    x = states()  # its ODE, dx = v·dt from t = 0 to 1, in Euler's steps
    for t in (0.0, 0.25, 0.5, 0.75):
        x = x + 0.25 * says(theirs, x, torch.full((3,), t, dtype=torch.float64), label)
    sigmas = [1.0, 0.75, 0.5, 0.25, 0.0]
    plan = solver.plan("euler", sigmas, FLOW)
    drawn = sample(denoiser, sigmas, solver=plan, x=states(), cond={"label": label}, space=FLOW)
    assert distance(drawn.double(), x) < 1e-6  # the state is float32 or better

    plain = build("dit", {**denoiser.spec.config, "mirrored": False}).double()
    plain.load_state_dict(denoiser.net.state_dict())
    said, mirrored = (net(x_t, net.embed(torch.tensor([0.25]).double())) for net in (plain, denoiser.net))
    assert distance(said, mirrored) > 1e-2 and distance(said, -mirrored) > 1e-2


def small_net() -> DiT:
    torch.manual_seed(0)
    net = DiT(SMALL).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
    return net


def test_no_class_can_be_said_in_three_ways():
    net = small_net()
    nobody = net.embed(torch.tensor([3.0]))
    for label in (-1, CLASSES):
        assert torch.equal(net.embed(torch.tensor([3.0]), {"label": torch.tensor([label])}), nobody)


@pytest.mark.parametrize("label", [torch.tensor([CLASSES + 1]), torch.tensor([0, 10**9])])
def test_a_class_that_is_not_there_is_refused(label):
    with pytest.raises(ValueError, match="classes 0 to 4"):
        small_net().embed(torch.zeros(len(label)), {"label": label})


@pytest.mark.parametrize("label", [torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.long), torch.zeros(2)])
def test_labels_are_one_whole_number_for_each_sample(label):
    with pytest.raises(ValueError, match="whole numbers, one for each sample"):
        small_net().embed(torch.zeros(2), {"label": label})


def test_classes_can_be_mixed():
    net, levels = small_net(), TIMES.float()
    rows = net.label_embeddings([3, 1, -1])
    assert rows.shape == (1, 3, SMALL.width)
    for row, label in zip(rows[0], (3, 1, CLASSES), strict=True):
        assert torch.equal(net.embed(levels, {"label": row[None]}), net.embed(levels, {"label": torch.tensor([label])}))
    mixed = net.embed(levels, {"label": rows[:, :2].mean(1)})
    assert all(distance(mixed, net.embed(levels, {"label": torch.tensor([label])})) > 1e-2 for label in (3, 1))


def test_one_row_of_embeddings_serves_a_batch():
    net, x = small_net(), states().float()
    row = net.embed(torch.tensor([7.0]), {"label": torch.tensor([2])})
    assert distance(net(x, row), net(x, row.expand(3, -1))) < 1e-6


def test_positions_are_sines_of_columns_then_rows():
    rows, columns, width = 3, 5, 16
    table = positions(rows, columns, torch.empty(width, dtype=torch.float64))
    for row in range(rows):
        for column in range(columns):
            angles = [place / 10000 ** (i / 4) for place in (column, row) for i in range(4)]
            expected = [wave(a) for half in (angles[:4], angles[4:]) for wave in (math.sin, math.cos) for a in half]
            assert torch.allclose(
                table[row * columns + column], torch.tensor(expected, dtype=torch.float64), atol=1e-12
            )


def test_draws_other_sizes_than_squares():
    net = small_net()
    wide = states().float()[:, :, :4, :]
    said = net(wide, net.embed(torch.zeros(3)))
    assert said.shape == wide.shape
    assert distance(net(wide.flip(3), net.embed(torch.zeros(3))).flip(3), said) > 1e-2


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_computes_in_the_dtype_of_its_weights(dtype, error):
    net, x = small_net(), states().float()
    expected = net(x, net.embed(TIMES.float()))
    net = net.to(dtype)
    said = net(x, net.embed(TIMES.float()))
    assert said.dtype == dtype and distance(said.float(), expected) < error


def test_every_parameter_has_a_gradient():
    net = small_net().requires_grad_(True)
    cond = {"label": torch.tensor([0, 1, 2])}
    net(states().float(), net.embed(TIMES.float(), cond)).sum().backward()
    assert [name for name, parameter in net.named_parameters() if not parameter.grad.any()] == []


def test_an_untrained_net_says_nothing():
    net = DiT(SMALL)
    assert not net(states().float(), net.embed(TIMES.float())).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_channels", 0),
        ("patch", 2.0),
        ("width", 10**9),
        ("width", 126),
        ("depth", True),
        ("heads", 3),
        ("classes", -1),
        ("learn_sigma", 1),
        ("dialect", "french"),
        ("dialect", ["original"]),
        ("mirrored", None),
    ],
)
def test_an_impossible_config_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        DiTConfig(**{**asdict(SMALL), name: value})


def shapes(depth: int, width: int, patch: int = 2, side: int = 32) -> dict[str, tuple[int, ...]]:
    """Of the tensors in a file of DiT's repository."""
    layers = {
        "x_embedder.proj": (width, 4, patch, patch),
        "t_embedder.mlp.0": (width, 256),
        "t_embedder.mlp.2": (width, width),
        "final_layer.adaLN_modulation.1": (2 * width, width),
        "final_layer.linear": (8 * patch**2, width),
    }
    for n in range(depth):
        layers[f"blocks.{n}.attn.qkv"] = (3 * width, width)
        layers[f"blocks.{n}.attn.proj"] = (width, width)
        layers[f"blocks.{n}.mlp.fc1"] = (4 * width, width)
        layers[f"blocks.{n}.mlp.fc2"] = (width, 4 * width)
        layers[f"blocks.{n}.adaLN_modulation.1"] = (6 * width, width)
    weights = {f"{name}.weight": shape for name, shape in layers.items()}
    biases = {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    table = {"y_embedder.embedding_table.weight": (1001, width), "pos_embed": (1, (side // patch) ** 2, width)}
    return weights | biases | table


def header(tensors: dict[str, tuple[int, ...]]) -> Header:
    return Header({}, {name: TensorInfo("F32", shape, 0, 0) for name, shape in tensors.items()})


@pytest.mark.parametrize(
    ("depth", "width", "patch", "side", "title", "heads"),
    [
        (12, 384, 8, 32, "S/8", 6),
        (12, 768, 4, 32, "B/4", 12),
        (24, 1024, 2, 32, "L/2", 16),
        (28, 1152, 2, 64, "XL/2", 16),
    ],
)
def test_the_sizes_of_the_papers_are_known(depth, width, patch, side, title, heads):
    match = recognise(header(shapes(depth, width, patch, side)))
    (other,) = match.others
    assert (match.spec.title, other.title) == (f"DiT-{title}", f"SiT-{title}")
    assert match.spec.shape == other.shape == (4, side, side)
    assert match.spec.config == {**other.config, "mirrored": False}
    assert (match.spec.config["heads"], match.spec.config["classes"]) == (heads, 1000)
    assert (match.spec.prediction, match.spec.betas, other.prediction, other.betas) == ("eps", "linear", "flow", "")
    assert any("SiT" in doubt for doubt in match.doubts) and any("heads" in doubt for doubt in match.doubts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_embedder.embedding_table.weight": (6, 100)}, "100 wide"),
        ({"y_embedder.embedding_table.weight": (1, 64)}, "classes"),
        ({"y_embedder.embedding_table.weight": (2**40, 64)}, "classes"),
        ({"y_embedder.embedding_table.weight": (6, 2**40)}, "width"),
        ({"y_embedder.embedding_table.weight": ()}, "2 dimensions"),
        ({"x_embedder.proj.weight": (64, 16, 2, 2)}, "16 channels"),
        ({"x_embedder.proj.weight": (64, 4, 0, 2)}, "4 dimensions"),
        ({"x_embedder.proj.weight": (64, 4, 2, 2, 2)}, "4 dimensions"),
        ({"final_layer.linear.weight": (20, 64)}, "20 numbers"),
        ({"pos_embed": (1, 250, 64)}, "no square"),
        ({"pos_embed": (250,)}, "3 dimensions"),
        ({"pos_embed": (1, 2**40, 64)}, "shape"),
        ({"blocks.99999.mlp.fc1.weight": (1,)}, "has 100000"),
        ({f"blocks.{'9' * 5000}.mlp.fc1.weight": (1,)}, "9999"),
        ({"blocks.0.attn.q_norm.weight": (64,)}, "q_norm"),
        ({"blocks.0.mlp.w12.weight": (64,)}, "w12"),
    ],
)
def test_an_impossible_file_is_refused_in_words(change, message):
    with pytest.raises(ValueError, match=message):
        recognise(header(shapes(1, 64) | change))


@pytest.mark.parametrize("name", sorted(set(shapes(1, 128)) - {"pos_embed"}))
def test_a_missing_tensor_is_named(tmp_path, name):
    state = {key: torch.zeros(shape) for key, shape in shapes(1, 128).items() if key != name}
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        inspect(written(tmp_path / "dit.safetensors", state))


def test_tensors_beside_the_net_are_reported(tmp_path):
    state = {key: torch.zeros(shape) for key, shape in shapes(1, 128).items()}
    path = written(tmp_path / "dit.safetensors", state | {"optimizer.step": torch.zeros(1)})
    assert inspect(path).unused == ("optimizer.step",)


def test_a_size_that_the_file_does_not_say_is_a_doubt():
    tensors = shapes(1, 128)
    del tensors["pos_embed"]
    match = recognise(header(tensors))
    assert match.spec.shape == (4, 32, 32)
    assert any("size" in doubt for doubt in match.doubts)


def test_embedders_of_diffusers_blocks_must_be_alike(tmp_path):
    state = oracle().state_dict()
    name = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"
    state[name] = state[name][:3]
    with pytest.raises(CheckpointError, match=r"transformer_blocks\.1\.norm1\.emb"):
        inspect(written(tmp_path / "dit.safetensors", state))
