"""Flux in each of its layouts, against the diffusers library's FluxTransformer2DModel in float64."""

from __future__ import annotations

import re
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save_file

from varifold.models import load_denoiser
from varifold.models.checkpoint import CheckpointError, inspect, report
from varifold.models.checkpoint.flux_family import axes
from varifold.models.nets import build
from varifold.models.nets.flux import Flux, FluxConfig

torch.set_num_threads(1)

EXACT, CHANGED = 1e-9, 1e-2
SMALL = {
    "num_layers": 3,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "axes_dims_rope": (4, 6, 6),
}
WIDTH = SMALL["attention_head_dim"] * SMALL["num_attention_heads"]
SIGMAS = (0.75, 0.3125)  # float32 has them exactly
GUIDANCE = (3.5, 1.25)
LAYOUTS = ("diffusers", "single file", "prefixed")
KNOWN_BY = (
    "double_blocks.0.img_attn.qkv.weight",
    "transformer_blocks.0.attn.add_q_proj.weight",
    "x_embedder.weight",
    "text_embedder.linear_1.weight",
)


@pytest.fixture(scope="module", params=[True, False], ids=["dev", "schnell"])
def theirs(request) -> FluxTransformer2DModel:
    """A small Flux of the diffusers library, every parameter random."""
    net = FluxTransformer2DModel(**SMALL, guidance_embeds=request.param).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(11)
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        of_a_norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.copy_(of_a_norm + values * (parameter.shape[1] ** -0.5 if parameter.ndim == 2 else 0.1))
    return net


def single_file(tensors: dict, prefix: str = "", scale: str = "scale") -> dict:
    """The tensors of the diffusers class, as Black Forest Labs name and join them."""
    given = dict(tensors)
    out = {}

    def move(new: str, *old: str) -> None:
        for leaf in ("weight", "bias"):
            parts = [given.pop(f"{name}.{leaf}") for name in old if f"{name}.{leaf}" in given]
            if parts:
                out[f"{prefix}{new}.{leaf}"] = torch.cat(parts)

    def norm(new: str, old: str) -> None:
        out[f"{prefix}{new}.{scale}"] = given.pop(f"{old}.weight")

    for new, old in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance")):
        move(f"{new}_in.in_layer", f"time_text_embed.{old}_embedder.linear_1")
        move(f"{new}_in.out_layer", f"time_text_embed.{old}_embedder.linear_2")
    move("img_in", "x_embedder")
    move("txt_in", "context_embedder")
    for i in range(SMALL["num_layers"]):
        new, old = f"double_blocks.{i}", f"transformer_blocks.{i}"
        move(f"{new}.img_mod.lin", f"{old}.norm1.linear")
        move(f"{new}.txt_mod.lin", f"{old}.norm1_context.linear")
        move(f"{new}.img_attn.qkv", f"{old}.attn.to_q", f"{old}.attn.to_k", f"{old}.attn.to_v")
        move(f"{new}.txt_attn.qkv", f"{old}.attn.add_q_proj", f"{old}.attn.add_k_proj", f"{old}.attn.add_v_proj")
        norm(f"{new}.img_attn.norm.query_norm", f"{old}.attn.norm_q")
        norm(f"{new}.img_attn.norm.key_norm", f"{old}.attn.norm_k")
        norm(f"{new}.txt_attn.norm.query_norm", f"{old}.attn.norm_added_q")
        norm(f"{new}.txt_attn.norm.key_norm", f"{old}.attn.norm_added_k")
        move(f"{new}.img_attn.proj", f"{old}.attn.to_out.0")
        move(f"{new}.txt_attn.proj", f"{old}.attn.to_add_out")
        move(f"{new}.img_mlp.0", f"{old}.ff.net.0.proj")
        move(f"{new}.img_mlp.2", f"{old}.ff.net.2")
        move(f"{new}.txt_mlp.0", f"{old}.ff_context.net.0.proj")
        move(f"{new}.txt_mlp.2", f"{old}.ff_context.net.2")
    for i in range(SMALL["num_single_layers"]):
        new, old = f"single_blocks.{i}", f"single_transformer_blocks.{i}"
        move(f"{new}.modulation.lin", f"{old}.norm.linear")
        move(f"{new}.linear1", f"{old}.attn.to_q", f"{old}.attn.to_k", f"{old}.attn.to_v", f"{old}.proj_mlp")
        norm(f"{new}.norm.query_norm", f"{old}.attn.norm_q")
        norm(f"{new}.norm.key_norm", f"{old}.attn.norm_k")
        move(f"{new}.linear2", f"{old}.proj_out")
    for leaf in ("weight", "bias"):  # diffusers puts the scale first
        given[f"norm_out.linear.{leaf}"] = torch.cat(given[f"norm_out.linear.{leaf}"].chunk(2)[::-1])
    move("final_layer.adaLN_modulation.1", "norm_out.linear")
    move("final_layer.linear", "proj_out")
    assert not given
    return out


def in_layout(tensors: dict, layout: str) -> dict:
    if layout == "diffusers":
        return dict(tensors)
    return single_file(tensors, "" if layout == "single file" else "model.diffusion_model.")


@pytest.fixture(params=LAYOUTS)
def path(theirs, request, tmp_path):
    """Their net in a file, without metadata."""
    return written(tmp_path, in_layout(theirs.state_dict(), request.param))


def written(folder, tensors: dict):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "flux.safetensors")
    return folder / "flux.safetensors"


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(batch: int = 2, height: int = 6, width: int = 10) -> torch.Tensor:
    return normal(batch, 16, height, width, seed=1)


def condition(guided: bool = True, batch: int = 2, tokens: int = 5) -> dict[str, torch.Tensor]:
    cond = {"tokens": normal(batch, tokens, 24, seed=2), "vector": normal(batch, 20, seed=3)}
    return {**cond, "guidance": torch.tensor(GUIDANCE[:batch], dtype=torch.float64)} if guided else cond


@contextmanager
def nothing_rounded():
    """Casts to float32 lead to float64."""
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield


def velocity_of(net: FluxTransformer2DModel, x: torch.Tensor, sigmas, cond: dict) -> torch.Tensor:
    """What their net says: squares of 2×2 in a row, each with its place."""
    batch, channels, height, width = x.shape
    height, width = height // 2, width // 2
    squares = x.reshape(batch, channels, height, 2, width, 2).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    places = torch.zeros(height, width, 3, dtype=torch.float64)
    places[..., 1] += torch.arange(height)[:, None]
    places[..., 2] += torch.arange(width)
    with nothing_rounded():
        out = net(
            squares,
            cond["tokens"],
            cond["vector"],
            torch.tensor(sigmas, dtype=torch.float64),
            places.flatten(0, 1),
            torch.zeros(cond["tokens"].shape[1], 3, dtype=torch.float64),
            cond.get("guidance"),
        ).sample
    out = out.reshape(batch, height, width, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return out.reshape(batch, channels, 2 * height, 2 * width)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape and one.dtype == other.dtype
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("size", [(6, 10), (4, 2)])
def test_draws_as_diffusers_do(path, theirs, size):
    guided = theirs.config.guidance_embeds
    denoiser = load_denoiser(path, dtype=torch.float64)
    x, cond = state(2, *size), condition(guided)
    velocity = velocity_of(theirs, x, SIGMAS, cond)
    assert 0.1 < velocity.std() < 10
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    assert apart(denoiser(x, sigma, cond), x - sigma[:, None, None, None] * velocity) < EXACT


def test_draws_as_prepared_for_a_run(path, theirs):
    guided = theirs.config.guidance_embeds
    denoiser = load_denoiser(path, dtype=torch.float64)
    x, cond = state(3), condition(guided, batch=1)
    prepared = denoiser.prepare(SIGMAS, cond, x.shape)
    for sigma in SIGMAS:
        for_all = {name: tensor.expand(3, *tensor.shape[1:]) for name, tensor in cond.items()}
        assert apart(prepared(x, sigma), x - sigma * velocity_of(theirs, x, [sigma] * 3, for_all)) < EXACT


@pytest.mark.parametrize("theirs", [True], indirect=True)
@pytest.mark.parametrize("name", ["tokens", "vector", "guidance"])
def test_follows_every_condition(theirs, tmp_path, name):
    net = load_denoiser(written(tmp_path, theirs.state_dict()), dtype=torch.float64).net
    x, cond, sigma = state(1), condition(batch=1), torch.tensor([0.75])

    def output(cond):
        return net(x, net.embed(sigma, cond), net.context(cond))

    other = {**cond, name: cond[name] + 1}
    assert apart(output(other), output(cond)) > CHANGED


@pytest.mark.parametrize("theirs", [True], indirect=True)
def test_guidance_is_three_and_a_half_where_none_is_given(theirs, tmp_path):
    net = load_denoiser(written(tmp_path, theirs.state_dict()), dtype=torch.float64).net
    cond, sigma = condition(batch=1), torch.tensor([0.75])
    assert torch.equal(net.embed(sigma, condition(False, batch=1)), net.embed(sigma, cond))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_precisions_draw_nearly_the_same(theirs, tmp_path, dtype):
    path = written(tmp_path, theirs.state_dict())
    x, cond = state(), condition(theirs.config.guidance_embeds)
    exact = load_denoiser(path, dtype=torch.float64)(x, 0.75, cond)
    cast = {name: tensor.float() for name, tensor in cond.items()}
    drawn = load_denoiser(path, dtype=dtype)(x.float(), 0.75, cast)
    assert drawn.dtype == torch.float32
    assert apart(drawn.double(), exact) < 40 * torch.finfo(dtype).eps


def test_float16_stays_finite_where_a_text_leaves_its_range():
    config = FluxConfig(
        width=32, heads=2, axes=(4, 6, 6), double_blocks=1, single_blocks=1, hidden=64, tokens=24, vector=20
    )
    net = Flux(config).half().eval().requires_grad_(False)
    net.text_in.bias.fill_(6e4)
    net.double_blocks[0].text.modulate.bias[2 * 32 : 3 * 32] = 6e4  # a gate
    cond = {name: tensor.half() for name, tensor in condition().items()}
    assert net(state().half(), net.embed(torch.ones(2), cond), net.context(cond)).isfinite().all()


def test_says_what_it_is(path, theirs):
    checkpoint = inspect(path)
    spec, config = checkpoint.match.spec, checkpoint.net.config
    assert (spec.prediction, spec.space, spec.channels, spec.shape) == ("flow", "flow", "flux", (16, 128, 128))
    assert (spec.sigma_min, spec.sigma_max) == (0.001, 1.0)
    assert config == FluxConfig(
        width=WIDTH,
        heads=2,
        axes=(4, 6, 6),
        double_blocks=3,
        single_blocks=3,
        hidden=4 * WIDTH,
        tokens=24,
        vector=20,
        guidance=theirs.config.guidance_embeds,
    )
    assert checkpoint.unused == ()
    said = report(path)
    assert ("Flux dev" if theirs.config.guidance_embeds else "Flux schnell") in said
    assert "guidance" in said and "(4, 6, 6)" in said


@pytest.mark.parametrize("theirs", [True], indirect=True)
def test_reads_norms_as_comfyui_names_them(theirs, tmp_path):
    tensors = single_file(theirs.state_dict(), "model.diffusion_model.", scale="weight")
    denoiser = load_denoiser(written(tmp_path, tensors), dtype=torch.float64)
    x, cond = state(), condition()
    assert apart(denoiser(x, 0.75, cond), x - 0.75 * velocity_of(theirs, x, [0.75] * 2, cond)) < EXACT


def test_axes_are_of_flux_and_of_its_shape():
    assert axes(128) == (16, 56, 56)
    assert axes(64) == (8, 28, 28)
    for head in range(2, 512, 2):
        dealt = axes(head)
        assert sum(dealt) == head and all(axis >= 0 and axis % 2 == 0 for axis in dealt)
    with pytest.raises(ValueError, match="pairs"):
        axes(7)


def test_whole_flux_is_built_in_no_memory():
    with torch.device("meta"):
        net = build("flux", {})
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_901_408_320


def test_text_that_is_not_wired_is_named():
    config = FluxConfig(
        width=32, heads=2, axes=(4, 6, 6), double_blocks=1, single_blocks=0, hidden=64, tokens=24, vector=20
    )
    net = Flux(config)
    cond, sigma = {name: tensor.float() for name, tensor in condition().items()}, torch.ones(2)
    for make, missing in ((lambda cond: net.embed(sigma, cond), "vector"), (net.context, "tokens")):
        for poor in (None, {}, {**cond, missing: cond[missing][..., :7]}):
            with pytest.raises(ValueError, match=f"`{missing}`.*DualCLIPLoader.*positive"):
                make(poor)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"width": 0}, "width"),
        ({"double_blocks": 2.0}, "double_blocks"),
        ({"heads": 5}, "heads"),
        ({"axes": (16, 56, 55)}, "axes"),
        ({"axes": "abc"}, "axes"),
        ({"axes": (64, 64)}, "axes"),
        ({"axes": (True, 72, 56)}, "axes"),
        ({"guidance": 1}, "guidance"),
    ],
)
def test_impossible_configs_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        FluxConfig(**change)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return FluxTransformer2DModel(**SMALL, guidance_embeds=True).state_dict()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_missing_tensor_is_named(tensors, layout, tmp_path):
    whole = in_layout(tensors, layout)
    for name in list(whole)[::5]:
        if name.endswith(KNOWN_BY):
            continue
        with pytest.raises(CheckpointError, match=re.escape(name)):
            inspect(written(tmp_path, {key: tensor for key, tensor in whole.items() if key != name}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_block_is_missed(tensors, layout, tmp_path):
    whole = in_layout(tensors, layout)
    blocks = (
        ("transformer_blocks", "single_transformer_blocks")
        if layout == "diffusers"
        else ("double_blocks", "single_blocks")
    )
    for start in (f"{'model.diffusion_model.' * (layout == 'prefixed')}{block}.1." for block in blocks):
        with pytest.raises(CheckpointError, match=re.escape(start)):
            inspect(written(tmp_path, {key: tensor for key, tensor in whole.items() if not key.startswith(start)}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_impossible_shapes_are_named(tensors, layout, tmp_path):
    whole = in_layout(tensors, layout)
    for name in list(whole)[::11]:
        for shape in ((), (5, 0), (2, 3, 4)):
            with pytest.raises(CheckpointError, match=re.escape(name)):
                inspect(written(tmp_path, {**whole, name: torch.zeros(shape)}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_used_is_listed(tensors, layout, tmp_path):
    extra = {"vae.decoder.conv_in.weight": torch.zeros(1), "text_encoders.clip_l.logit_scale": torch.zeros(1)}
    assert inspect(written(tmp_path, {**in_layout(tensors, layout), **extra})).unused == tuple(sorted(extra))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "mark, said",
    [
        ("distilled_guidance_layer.in_proj.weight", "Chroma"),
        ("double_stream_modulation_img.lin.weight", "Flux 2"),
        ("controlnet_blocks.0.weight", "ControlNet"),
        ("img_in.scale_weight", "scales of their own"),
        ("scaled_fp8", "scales of their own"),
    ],
)
def test_relatives_are_told_apart(tensors, layout, mark, said, tmp_path):
    prefix = "model.diffusion_model." if layout == "prefixed" else ""
    with pytest.raises(CheckpointError, match=said):
        inspect(written(tmp_path, {**in_layout(tensors, layout), prefix + mark: torch.zeros(1)}))


def test_scales_of_a_text_encoder_in_the_same_file_do_not_matter(tensors, tmp_path):
    extra = {"text_encoders.t5xxl.transformer.scaled_fp8": torch.zeros(1)}
    assert inspect(written(tmp_path, {**in_layout(tensors, "prefixed"), **extra})).unused == tuple(extra)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_flux_that_sees_a_second_picture_is_refused(tensors, layout, tmp_path):
    fill = {**tensors, "x_embedder.weight": torch.zeros(WIDTH, 384)}
    with pytest.raises(CheckpointError, match=r"384.*Fill"):
        inspect(written(tmp_path, in_layout(fill, layout)))


def test_heads_that_do_not_fit_are_named(tensors, tmp_path):
    for head, said in ((15, "divide"), (1, "pairs")):
        odd = {**tensors, "transformer_blocks.0.attn.norm_q.weight": torch.zeros(head)}
        with pytest.raises(CheckpointError, match=said):
            inspect(written(tmp_path, odd))


def test_a_file_cut_short_is_said_to_be(tensors, tmp_path):
    path = written(tmp_path, tensors)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        inspect(path)
