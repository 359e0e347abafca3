"""Stable Diffusion's U-Nets in each layout, against the diffusers library's UNet2DConditionModel in float64."""

from __future__ import annotations

import random
import re
from dataclasses import asdict, replace
from functools import cache

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from varifold.models import load_denoiser
from varifold.models.checkpoint import CheckpointError, Header, TensorInfo, inspect, report
from varifold.models.checkpoint.families import recognise
from varifold.models.checkpoint.inspect import account
from varifold.models.denoising.timesteps import table
from varifold.models.nets import build
from varifold.models.nets.latent_unet import LatentUNet, LatentUNetConfig

torch.set_num_threads(1)

EXACT, CHANGED = 1e-9, 1e-2
DOWN, UP, CROSS_DOWN, CROSS_UP = "DownBlock2D", "UpBlock2D", "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
SD1 = {
    "block_out_channels": (32, 64),
    "down_block_types": (CROSS_DOWN, DOWN),
    "up_block_types": (UP, CROSS_UP),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD2 = {
    **SD1,
    "block_out_channels": (64, 128),
    "cross_attention_dim": 1024,
    "attention_head_dim": (1, 2),
    "use_linear_projection": True,
}
SDXL = {
    "block_out_channels": (32, 64, 128),
    "down_block_types": (DOWN, CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, UP),
    "transformer_layers_per_block": (1, 1, 2),
    "cross_attention_dim": 2048,
    "attention_head_dim": (1, 1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
REFINER = {
    **SDXL,
    "block_out_channels": (32, 64, 64),
    "down_block_types": (DOWN, CROSS_DOWN, DOWN),
    "up_block_types": (UP, CROSS_UP, UP),
    "transformer_layers_per_block": 2,
    "cross_attention_dim": 1280,
    "attention_head_dim": (1, 1, 1),
    "projection_class_embeddings_input_dim": 2560,
}
KINDS = {
    "sd1": (SD1, "Stable Diffusion 1"),
    "sd1 inpainting": ({**SD1, "in_channels": 9}, "Stable Diffusion 1, inpainting"),
    "sd2": (SD2, "Stable Diffusion 2"),
    "sd2 inpainting": ({**SD2, "in_channels": 9}, "Stable Diffusion 2, inpainting"),
    "sdxl": (SDXL, "Stable Diffusion XL"),
    "sdxl inpainting": ({**SDXL, "in_channels": 9}, "Stable Diffusion XL, inpainting"),
    "refiner": (REFINER, "Stable Diffusion XL refiner"),
}
PREFIX = "model.diffusion_model."
LAYOUTS = ("diffusers", "single file", "prefixed")
CASES = [(kind, layout) for kind in KINDS for layout in (LAYOUTS if kind in ("sd1", "sdxl") else LAYOUTS[:2])]
TIMESTEPS = torch.tensor([999.0, 17.0])


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def theirs_like(settings: dict) -> UNet2DConditionModel:
    """A small U-Net of the diffusers library, every parameter random."""
    net = UNet2DConditionModel(**settings).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(11)
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        of_a_norm = parameter.ndim == 1 and name.endswith("weight")
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.copy_(of_a_norm + values * spread)
    return net


@pytest.fixture(scope="module")
def nets():
    made = {}

    def net(kind: str) -> UNet2DConditionModel:
        if kind not in made:
            made[kind] = theirs_like(KINDS[kind][0])
        return made[kind]

    return net


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}


def original_name(name: str, attending: set[str]) -> str:
    """A tensor's name in the original repositories, two blocks a level; `attending`: the up_blocks with attention."""

    def down(found: re.Match) -> str:
        level, kind, number = int(found[1]), found[2], int(found[3])
        if kind == "downsamplers":
            return f"input_blocks.{3 * level + 3}.0."
        return f"input_blocks.{3 * level + 1 + number}.{['resnets', 'attentions'].index(kind)}."

    def up(found: re.Match) -> str:
        step, kind, number = int(found[1]), found[2], int(found[3])
        if kind == "upsamplers":
            return f"output_blocks.{3 * step + 2}.{1 + (f'up_blocks.{step}' in attending)}."
        return f"output_blocks.{3 * step + number}.{['resnets', 'attentions'].index(kind)}."

    for part, original in RESNET.items():
        name = re.sub(rf"(resnets\.\d+)\.{part}\.", rf"\1.{original}.", name)
    name = name.replace("downsamplers.0.conv.", "downsamplers.0.op.")
    for part, original in TOP.items():
        name = re.sub(rf"^{re.escape(part)}\.", f"{original}.", name)
    name = re.sub(r"^down_blocks\.(\d+)\.(\w+)\.(\d+)\.", down, name)
    return re.sub(r"^up_blocks\.(\d+)\.(\w+)\.(\d+)\.", up, name)


def in_layout(tensors: dict, layout: str) -> dict:
    if layout == "diffusers":
        return dict(tensors)
    attending = {".".join(name.split(".")[:2]) for name in tensors if re.match(r"up_blocks\.\d+\.attentions", name)}
    prefix = PREFIX if layout == "prefixed" else ""
    return {prefix + original_name(name, attending): tensor for name, tensor in tensors.items()}


def written(folder, tensors: dict):
    path = folder / "unet.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def conditions(kind: str) -> dict:
    settings = KINDS[kind][0]
    cond = {"tokens": normal(2, 7, settings["cross_attention_dim"], seed=3)}
    if "refiner" in kind or "xl" in kind:
        cond["vector"] = normal(2, settings["projection_class_embeddings_input_dim"], seed=4)
    if "inpainting" in kind:
        cond["image"] = normal(2, 5, 8, 16, seed=5)
    return cond


X = normal(2, 4, 8, 16, seed=6)


def ours_says(net: LatentUNet, cond: dict | None, x: torch.Tensor = X, timesteps: torch.Tensor = TIMESTEPS):
    return net(x, net.embed(timesteps, cond), net.context(cond))


def theirs_says(net: UNet2DConditionModel, cond: dict):
    """Their vector is made inside, from a pooled text and numbers: what comes out of that is put in its place."""
    x = torch.cat([X, cond["image"]], dim=1) if "image" in cond else X
    hooks, extra = [], None
    if "vector" in cond:
        extra = {"text_embeds": torch.zeros(2, cond["vector"].shape[1] - 256), "time_ids": torch.zeros(2, 1)}
        hooks = [net.add_embedding.register_forward_pre_hook(lambda *_: (cond["vector"],))]
    try:
        return net(x, TIMESTEPS, cond["tokens"], added_cond_kwargs=extra, return_dict=False)[0]
    finally:
        for hook in hooks:
            hook.remove()


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(("kind", "layout"), CASES)
def test_it_says_what_diffusers_says(nets, kind, layout, tmp_path):
    theirs, cond = nets(kind), conditions(kind)
    denoiser = load_denoiser(written(tmp_path, in_layout(theirs.state_dict(), layout)), dtype=torch.float64)
    expected = theirs_says(theirs, cond)
    assert 0.1 < expected.std() < 10
    assert apart(ours_says(denoiser.net, cond), expected) < EXACT
    assert denoiser.net.conditions == tuple(cond)
    for name, tensor in cond.items():
        changed = {**cond, name: torch.zeros_like(tensor)}
        assert apart(ours_says(denoiser.net, changed), expected) > CHANGED
        with pytest.raises(ValueError, match="needs"):
            ours_says(denoiser.net, {other: cond[other] for other in cond if other != name})
    with pytest.raises(ValueError, match="needs"):
        ours_says(denoiser.net, None)


@pytest.mark.parametrize(("kind", "layout"), CASES)
def test_the_report_tells_family_and_doubts(nets, kind, layout, tmp_path):
    tensors = {name: tensor.half() for name, tensor in nets(kind).state_dict().items()}
    path = written(tmp_path, in_layout(tensors, layout))
    checkpoint, said = inspect(path), report(path)
    spec, family = checkpoint.match.spec, KINDS[kind][1]
    assert checkpoint.unused == ()
    assert checkpoint.match.family == f"{family}, {'diffusers' if layout == 'diffusers' else 'single file'}"
    assert spec.channels == ("sd1" if kind[:3] in ("sd1", "sd2") else "sdxl")
    assert (spec.prediction, spec.shape[1]) == {
        "Stable Diffusion 1": ("eps", 64),
        "Stable Diffusion 2": ("v", 96),
        "Stable Diffusion 2, inpainting": ("eps", 64),
    }.get(family.replace("1, inpainting", "1"), ("eps", 128))
    assert (spec.sigma_min, spec.sigma_max) == (table("scaled_linear")[0], table("scaled_linear")[-1])
    assert [other.prediction for other in checkpoint.match.others] == ["v" if spec.prediction == "eps" else "eps"]
    assert f"taken as {spec.prediction}" in said and "attn2.to_k.weight has" in said


def test_sd2_may_be_read_as_eps(nets, tmp_path):
    path = written(tmp_path, nets("sd2").state_dict())
    spec = load_denoiser(path, prediction="eps").spec
    assert (spec.prediction, spec.shape) == ("eps", (4, 64, 64))


@pytest.mark.parametrize(("layout", "before"), [*((layout, "") for layout in LAYOUTS), ("prefixed", PREFIX)])
def test_marks_tell_prediction_and_table(nets, layout, before, tmp_path):
    tensors = {**in_layout(nets("sdxl").state_dict(), layout), f"{before}v_pred": torch.zeros(0)}
    checkpoint = inspect(written(tmp_path, tensors))
    match = checkpoint.match
    assert (match.spec.prediction, match.spec.betas, match.doubts, match.others) == ("v", "scaled_linear", (), ())
    assert checkpoint.unused == ()
    match = inspect(written(tmp_path, {**tensors, f"{before}ztsnr": torch.zeros(0)})).match
    assert (match.spec.prediction, match.spec.betas, match.spec.sigma_max) == ("v", "zero_snr", table("zero_snr")[-1])


@pytest.mark.parametrize("mark", ["edm_mean", "edm_vpred.sigma_max"])
def test_edm_marks_are_refused(nets, mark, tmp_path):
    with pytest.raises(CheckpointError, match=mark):
        inspect(written(tmp_path, {**nets("sdxl").state_dict(), mark: torch.ones(1)}))


def test_a_whole_checkpoint_has_other_tensors(nets, tmp_path):
    others = {"first_stage_model.decoder.conv_in.weight": torch.ones(1), "cond_stage_model.x": torch.ones(1)}
    path = written(tmp_path, in_layout(nets("sd1").state_dict(), "prefixed") | others)
    assert inspect(path).unused == tuple(sorted(others))


def header_of(tensors: dict) -> Header:
    return Header({}, {name: TensorInfo("F16", tuple(tensor.shape), 0, 0) for name, tensor in tensors.items()})


@cache
def net_on_meta(config: LatentUNetConfig) -> LatentUNet:
    with torch.device("meta"):
        return LatentUNet(config)


def understood(header: Header) -> None:
    """What `inspect` does with a header, but for making the same net again."""
    match = recognise(header)
    account(header, match.source, net_on_meta(LatentUNetConfig(**match.spec.config)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_every_missing_tensor_is_named(nets, kind, layout):
    header = header_of(in_layout(nets(kind).state_dict(), layout))
    understood(header)
    for name in list(header.tensors)[:: 3 if kind == "sdxl" else 1]:
        with pytest.raises(ValueError) as error:
            understood(Header({}, {other: info for other, info in header.tensors.items() if other != name}))
        assert name in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_of_another_shape_is_refused(nets, layout):
    header = header_of(in_layout(nets("sdxl").state_dict(), layout))
    shapes = [(), (0,), (3,), (3, 5), (3, 5, 1), (1, 1, 1, 1), (2, 0, 3, 3), (2**40, 2**20)]
    for number, name in enumerate(list(header.tensors)[::3]):
        with pytest.raises(ValueError):
            changed = TensorInfo("F16", shapes[number % len(shapes)], 0, 0)
            understood(Header({}, {**header.tensors, name: changed}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_out_of_place_are_refused(nets, layout):
    """Names whose numbers are others, at random: never a crash, and never read as if nothing were."""
    header = header_of(in_layout(nets("sdxl").state_dict(), layout))
    names, numbers = list(header.tensors), random.Random(5)
    for _ in range(150):
        name = numbers.choice(names)
        other = re.sub(r"\d+", lambda _: str(numbers.choice([0, 1, 2, 3, 7, 999, 10**30])), name, count=1)
        if other in header.tensors:
            continue
        moved = {other if each == name else each: info for each, info in header.tensors.items()}
        with pytest.raises(ValueError):
            understood(Header({}, moved))


def test_a_file_that_misses_a_tensor_is_an_error_with_its_path(nets, tmp_path):
    tensors = dict(nets("sd1").state_dict())
    del tensors["conv_out.bias"]
    with pytest.raises(CheckpointError, match=r"unet.safetensors.*conv_out.bias"):
        load_denoiser(written(tmp_path, tensors))


def test_relatives_are_refused(nets):
    def refused(tensors: dict, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            understood(header_of(tensors))

    sd1, sdxl = nets("sd1").state_dict(), nets("sdxl").state_dict()
    for layout, place in (("diffusers", "up_blocks.1.attentions.0"), ("single file", "output_blocks.3.1")):
        tensors = in_layout(sdxl, layout)
        first = f"{place}.transformer_blocks.0."
        deeper = {n.replace(first, f"{place}.transformer_blocks.1."): t for n, t in tensors.items() if first in n}
        refused(tensors | deeper, f"{place} is not as deep")
        refused({**tensors, f"{place}.alpha": torch.ones(1)}, f"{place}.alpha")
    refused({**sdxl, "add_embedding.linear_1.weight": torch.ones(128, 5632)}, "5632 wide and not 2816")
    refused({**sd1, "add_embedding.linear_1.weight": torch.ones(128, 2048)}, "2048 wide and not 0")
    stem = sd1["conv_in.weight"]
    refused({**sd1, "conv_in.weight": torch.cat([stem, stem], 1)}, "takes 8 channels")
    refused({n: t[:, :512] if "attn2.to_k" in n or "attn2.to_v" in n else t for n, t in sd1.items()}, "512 wide")
    refused({n: t for n, t in sd1.items() if "up_blocks" not in n}, "diffusers")
    refused({n: t for n, t in sd1.items() if not n.startswith("down_blocks.0.attentions.1.")}, "level 0 differ")


@pytest.mark.parametrize("kind", ["sd1 inpainting", "sdxl"])
def test_conditions_of_another_width_are_refused(nets, kind, tmp_path):
    net = load_denoiser(written(tmp_path, nets(kind).state_dict()), dtype=torch.float64).net
    cond = conditions(kind)
    for name in cond:
        narrow = cond[name][:, :3] if name == "image" else cond[name][..., :3]
        with pytest.raises(ValueError, match=f"its {name} should be"):
            ours_says(net, {**cond, name: narrow})


SMALL = LatentUNetConfig(width=32, multipliers=(1, 2), blocks=1, depths=(0, 2), heads=4, context=24, vector=12)
COND = {"tokens": normal(2, 5, 24, seed=1).float(), "vector": normal(2, 12, seed=2).float()}


def random_net(config: LatentUNetConfig = SMALL) -> LatentUNet:
    torch.manual_seed(0)
    net = LatentUNet(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    return net


def test_one_noise_level_serves_a_batch():
    net, same = random_net(), {**COND, "vector": COND["vector"][:1]}
    alone = net(X.float(), net.embed(TIMESTEPS[:1], same), net.context(same))
    torch.testing.assert_close(alone, ours_says(net, same, X.float(), TIMESTEPS[:1].expand(2)))


def test_sample_does_not_depend_on_its_batch():
    net, x = random_net(), X.float()
    batch = ours_says(net, COND, x)
    for i in range(2):
        cond = {name: tensor[i : i + 1] for name, tensor in COND.items()}
        alone = ours_says(net, cond, x[i : i + 1], TIMESTEPS[i : i + 1])
        torch.testing.assert_close(alone[0], batch[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.03), (torch.float16, 0.004), (torch.float64, 1e-5)])
def test_other_dtypes_stay_near_float32(dtype, limit):
    expected, net = ours_says(random_net(), COND, X.float()), random_net().to(dtype)
    said = ours_says(net, COND)
    assert said.dtype == dtype
    assert apart(said.double(), expected.double()) < limit


def test_every_parameter_has_a_gradient():
    net = random_net().requires_grad_(True)
    ours_says(net, COND, X.float()).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if not parameter.grad.any()] == []


def test_untrained_net_says_zero():
    assert not ours_says(LatentUNet(SMALL), COND, X.float()).any()


@pytest.mark.parametrize(
    "change",
    [
        {"in_channels": 0},
        {"image_channels": -1},
        {"width": 40},
        {"width": 10**9},
        {"width": 32.0},
        {"blocks": 0},
        {"blocks": True},
        {"multipliers": ()},
        {"multipliers": 3},
        {"multipliers": (1,) * 9},
        {"multipliers": (1, "2")},
        {"depths": (1,)},
        {"depths": (1, 10**6)},
        {"middle_depth": 99},
        {"context": 0},
        {"vector": -1},
        {"heads": 0},
        {"heads": 7},
        {"head_width": 8},
        {"heads": 0, "head_width": 48},
        {"groups": 4},
    ],
)
def test_impossible_configs_are_refused(change):
    with pytest.raises(ValueError, match=list(change)[-1]):
        build("latent_unet", {**asdict(SMALL), **change})


def test_heads_by_number_and_by_width_are_one():
    config = replace(SMALL, heads=0, head_width=16)
    assert torch.equal(ours_says(random_net(config), COND, X.float()), ours_says(random_net(), COND, X.float()))
