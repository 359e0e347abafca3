"""LoRA files in every naming, against the diffusers library's nets with the same change merged by hand in float64."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterable

import pytest
import torch
from diffusers import FluxTransformer2DModel
from nets import test_flux as flux
from nets import test_latent_unet as sd
from safetensors.torch import save_file
from small_checkpoints import DTYPES, packed, small_checkpoints
from torch import Tensor, nn

from varifold.models import load_denoiser
from varifold.models.checkpoint import CheckpointError, identity, with_lora
from varifold.models.checkpoint.lora_places import places
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.toy import Toy

torch.set_num_threads(1)

EXACT, CHANGED = 1e-9, 1e-2
RANKS = (1, 2, 4)
STRENGTH = 0.75


class Change:
    """alpha/rank · up · down for one weight, of the usual size; up and down are what a LoRA holds."""

    def __init__(self, weight: Tensor, number: int, alpha: float | None = 3.0, mid: bool = False):
        rank = RANKS[number % len(RANKS)]
        rows, columns, *kernel = weight.shape
        ones = [1] * len(kernel)
        self.alpha = alpha
        self.up = sd.normal(rows, rank, *ones, seed=3 * number) * 0.5
        self.down = sd.normal(rank, columns, *(ones if mid else kernel), seed=3 * number + 1) * columns**-0.5
        self.mid = sd.normal(rank, rank, *kernel, seed=3 * number + 2) if mid else None
        self.scale = 1.0 if alpha is None else alpha / rank

    @property
    def whole(self) -> Tensor:
        up, down = self.up.flatten(1), self.down
        if self.mid is not None:
            down = (self.mid.flatten(2).movedim(2, 0) @ down.flatten(1)).movedim(0, 2).unflatten(2, self.mid.shape[2:])
        return self.scale * (up @ down.flatten(1)).unflatten(1, down.shape[1:])

    def tensors(self, module: str, down: str = ".lora_down.weight", up: str = ".lora_up.weight") -> dict[str, Tensor]:
        found = {module + up: self.up, module + down: self.down}
        if self.alpha is not None:
            found[f"{module}.alpha"] = torch.tensor(self.alpha, dtype=torch.float64)
        return found if self.mid is None else {**found, f"{module}.lora_mid.weight": self.mid}


def changes_of(net: nn.Module, alpha: float | None = 3.0, which: str = "", **options: bool) -> dict[str, Change]:
    layers = [(n, m.weight) for n, m in net.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return {
        name: Change(weight, number, alpha, **options)
        for number, (name, weight) in enumerate(layers)
        if re.search(which, name)
    }


def merged(net: nn.Module, changes: dict[str, Change], strength: float = STRENGTH) -> nn.Module:
    net = copy.deepcopy(net)
    for name, change in changes.items():
        net.get_submodule(name).weight.add_(strength * change.whole)
    return net


def kohya(name: str, change: Change) -> dict[str, Tensor]:
    return change.tensors(f"lora_unet_{name.replace('.', '_')}")


def original(name: str, change: Change) -> dict[str, Tensor]:
    """As kohya's scripts name the modules of SDXL, by the original repository."""
    attending = {"up_blocks.0", "up_blocks.1"}
    return kohya(sd.original_name(f"{name}.weight", attending).removesuffix(".weight"), change)


def peft(name: str, change: Change, prefix: str = "unet.") -> dict[str, Tensor]:
    return change.tensors(prefix + name, ".lora_A.weight", ".lora_B.weight")


def adapter(name: str, change: Change) -> dict[str, Tensor]:
    return change.tensors(f"base_model.model.{name}", ".lora_A.default.weight", ".lora_B.default.weight")


def older(name: str, change: Change) -> dict[str, Tensor]:
    return change.tensors(f"unet.{name}", ".lora.down.weight", ".lora.up.weight")


def oldest(name: str, change: Change) -> dict[str, Tensor]:
    module = re.sub(r"\.to_(\w+)(\.0)?$", r".processor.to_\1", name)
    return change.tensors(module, "_lora.down.weight", "_lora.up.weight")


ATTENTION = r"\.to_(q|k|v|out\.0)$"
NAMINGS: dict[str, tuple[Callable, float | None, str]] = {
    "kohya": (kohya, 3.0, ""),
    "peft": (peft, None, ""),
    "adapter": (adapter, None, ""),
    "older": (older, None, ""),
    "oldest": (oldest, None, ATTENTION),
}


@pytest.fixture(scope="module")
def theirs():
    """theirs(kind) -> a small net of the diffusers library, every parameter random."""
    made = {}

    def net(kind: str) -> nn.Module:
        if kind not in made:
            made[kind] = flux_net() if kind == "flux" else sd.theirs_like(sd.KINDS[kind][0])
        return made[kind]

    return net


def flux_net() -> FluxTransformer2DModel:
    net = FluxTransformer2DModel(**flux.SMALL, guidance_embeds=True).double().eval().requires_grad_(False)
    for number, (name, parameter) in enumerate(net.named_parameters()):
        of_a_norm = parameter.ndim == 1 and name.endswith("weight")
        spread = parameter.shape[1] ** -0.5 if parameter.ndim == 2 else 0.1
        parameter.copy_(of_a_norm + spread * sd.normal(*parameter.shape, seed=number))
    return net


@pytest.fixture(scope="module")
def base(theirs, tmp_path_factory):
    """base(kind, layout) -> its file, loaded in float64."""
    made = {}

    def load(kind: str, layout: str = "diffusers") -> Denoiser:
        if (kind, layout) not in made:
            tensors = (flux if kind == "flux" else sd).in_layout(theirs(kind).state_dict(), layout)
            path = tmp_path_factory.mktemp("base") / "net.safetensors"
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
            made[kind, layout] = load_denoiser(path, dtype=torch.float64)
        return made[kind, layout]

    return load


@pytest.fixture
def write(tmp_path):
    """write(tensors) -> the path of a file."""

    def write(tensors: dict[str, Tensor], name: str = "lora"):
        path = tmp_path / f"{name}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        return path

    return write


def joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: tensor for part in parts for name, tensor in part.items()}


def says(kind: str, denoiser: Denoiser) -> Tensor:
    if kind == "flux":
        sigmas = torch.tensor(flux.SIGMAS, dtype=torch.float64)
        return denoiser.net(
            flux.state(), denoiser.net.embed(sigmas, flux.condition()), denoiser.net.context(flux.condition())
        )
    return sd.ours_says(denoiser.net, sd.conditions(kind))


def they_say(kind: str, net: nn.Module) -> Tensor:
    if kind == "flux":
        return flux.velocity_of(net, flux.state(), flux.SIGMAS, flux.condition())
    return sd.theirs_says(net, sd.conditions(kind))


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_it_changes_what_diffusers_nets_would_say(kind, naming, theirs, base, write):
    """The names are those of diffusers, and the net comes from a single file."""
    name, alpha, which = NAMINGS[naming]
    changes = changes_of(theirs(kind), alpha, which)
    path = write(joined(name(module, change) for module, change in changes.items()))
    plain = base(kind, "prefixed")
    changed, report = with_lora(plain, path, STRENGTH)
    expected = they_say(kind, merged(theirs(kind), changes))
    assert apart(says(kind, changed), expected) < EXACT
    assert apart(says(kind, plain), expected) > CHANGED
    assert f"modules changed: {len(changes)}, of rank 1, 2, 4" in report and "matched nothing: 0" in report


def test_names_of_the_original_repository(theirs, base, write):
    changes = changes_of(theirs("sdxl"))
    path = write(joined(original(module, change) for module, change in changes.items()))
    changed, report = with_lora(base("sdxl"), path, STRENGTH)
    assert apart(says("sdxl", changed), they_say("sdxl", merged(theirs("sdxl"), changes))) < EXACT
    assert f"modules changed: {len(changes)}," in report


@pytest.mark.parametrize("before", ["transformer.", "diffusion_model.", "", "lora_transformer_"])
def test_flux_as_diffusers_name_it(before, theirs, base, write):
    changes = changes_of(theirs("flux"), None if before.endswith(".") else 3.0)
    underscored = before.endswith("_")
    tensors = joined(
        change.tensors(before + name.replace(".", "_"))
        if underscored
        else change.tensors(before + name, ".lora_A.weight", ".lora_B.weight")
        for name, change in changes.items()
    )
    plain = base("flux", "single file")
    changed, report = with_lora(plain, write(tensors), STRENGTH)
    expected = they_say("flux", merged(theirs("flux"), changes))
    assert apart(says("flux", changed), expected) < EXACT
    assert apart(says("flux", plain), expected) > CHANGED
    assert f"modules changed: {len(changes)}," in report


@pytest.mark.parametrize(
    ("kind", "which"),
    [("sd1", r"attn1\.to_v$"), ("sdxl", r"attn2\.to_v$"), ("sdxl", r"up_blocks\.1\.resnets\.1\.time_emb_proj$")]
    + [
        ("flux", which) for which in (r"single.*\.proj_mlp$", r"single.*\.to_k$", r"add_v_proj$", r"^norm_out\.linear$")
    ],
)
def test_some_rows_of_a_joined_layer(kind, which, theirs, base, write):
    changes = changes_of(theirs(kind), which=which)
    path = write(joined(peft(module, change, "transformer.") for module, change in changes.items()))
    expected = they_say(kind, merged(theirs(kind), changes))
    changed = says(kind, with_lora(base(kind), path, STRENGTH)[0])
    assert changes and apart(changed, expected) < EXACT < apart(says(kind, base(kind)), expected)


def test_a_third_factor_between_the_two(theirs, base, write):
    changes = changes_of(theirs("sd1"), which=r"conv1$", mid=True)
    path = write(joined(kohya(module, change) for module, change in changes.items()))
    expected = they_say("sd1", merged(theirs("sd1"), changes))
    assert changes and apart(says("sd1", with_lora(base("sd1"), path, STRENGTH)[0]), expected) < EXACT


LAYOUTS = [name for name in small_checkpoints() if re.match("(SD|DiT|Flux)", name)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_module_of_every_layout(name, write):
    """A LoRA of all the layers in a file, by their names in it, does what merging it into the file does."""
    before = {"DiT, original": "model."}.get(name, "model.diffusion_model.")
    plain, after, lora = {}, {}, {}
    for number, (key, (dtype, shape, data)) in enumerate(small_checkpoints()[name].tensors.items()):
        if key.startswith("first_stage_model.") or not data:
            continue
        stored = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(DTYPES[dtype])
        plain[key] = after[key] = stored.view(shape).double()
        if key.endswith(".weight") and len(shape) > 1 and "embedding_table" not in key:
            change = Change(plain[key], number)
            after[key] = plain[key] + STRENGTH * change.whole
            lora |= kohya(key.removesuffix(".weight").removeprefix(before), change)
    given, expected = (
        load_denoiser(write(each, title), dtype=torch.float64) for title, each in (("plain", plain), ("merged", after))
    )
    changed, report = with_lora(given, write(lora), STRENGTH)
    assert f"modules changed: {len(lora) // 3}," in report
    wanted = expected.net.state_dict()
    for tensor, value in changed.net.state_dict().items():
        torch.testing.assert_close(value, wanted[tensor], rtol=1e-12, atol=1e-12)


@pytest.fixture
def small(theirs, write):
    """A LoRA of SD1's attention, its changes and its path."""
    changes = changes_of(theirs("sd1"), which=ATTENTION)
    return changes, write(joined(kohya(module, change) for module, change in changes.items()))


def test_strength_0_is_the_denoiser_itself(base, small):
    denoiser, report = with_lora(base("sd1"), small[1], 0.0)
    assert denoiser is base("sd1") and "leaves the denoiser as it is" in report


def test_negative_strength(theirs, base, small):
    changes, path = small
    expected = they_say("sd1", merged(theirs("sd1"), changes, -1.5))
    assert apart(says("sd1", with_lora(base("sd1"), path, -1.5)[0]), expected) < EXACT


def test_one_after_another(theirs, base, small, write):
    changes, path = small
    others = changes_of(theirs("sd1"), alpha=1.0, which="(attn2|ff|conv)")
    second = write(joined(kohya(module, change) for module, change in others.items()), "second")
    once, _ = with_lora(base("sd1"), path, STRENGTH)
    twice, _ = with_lora(once, second, -0.5)
    expected = they_say("sd1", merged(merged(theirs("sd1"), changes), others, -0.5))
    assert apart(says("sd1", twice), expected) < EXACT
    back, _ = with_lora(once, path, -STRENGTH)
    assert apart(says("sd1", back), says("sd1", base("sd1"))) < 1e-12
    assert len({each.identity for each in (base("sd1"), once, twice, back)}) == 4
    assert identity(path) in once.identity and once.identity.startswith(base("sd1").identity)


def test_a_base_is_not_hashed_before_its_identity_is_asked_for(base, small):
    asked = []
    plain = base("sd1").with_net(base("sd1").net, lambda: asked.append(1) or "base")
    changed, _ = with_lora(plain, small[1], 0.5)
    assert not asked and changed.identity == f"base + {identity(small[1])} * 0.5" and asked


def test_the_one_given_is_left_alone_and_shares_the_rest(base, small):
    plain = base("sd1")
    before = {name: tensor.clone() for name, tensor in plain.net.state_dict().items()}
    changed, _ = with_lora(plain, small[1], STRENGTH)
    after, other = plain.net.state_dict(), changed.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    for name, tensor in after.items():
        shared = other[name].data_ptr() == tensor.data_ptr()
        assert shared == ("attention" not in name or "norm" in name or "bias" in name), name
    assert changed.net is not plain.net and not any(p.requires_grad for p in changed.net.parameters())
    assert not changed.net.training
    assert (changed.spec, changed.autoencoder, changed.guidance) == (plain.spec, plain.autoencoder, plain.guidance)


def test_convolutions_stay_channels_last(theirs, base, write):
    changes = changes_of(theirs("sd1"), which="conv1$")
    path = write(joined(kohya(module, change) for module, change in changes.items()))
    changed, _ = with_lora(base("sd1"), path)
    for block in ("down.0.conv1.weight", "down.0.conv2.weight"):
        assert changed.net.state_dict()[block].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_is_rounded_once(dtype, theirs, small, tmp_path):
    changes, path = small
    save_file({name: t.contiguous() for name, t in theirs("sd1").state_dict().items()}, tmp_path / "net.safetensors")
    plain = load_denoiser(tmp_path / "net.safetensors", dtype=dtype)
    changed, _ = with_lora(plain, path, STRENGTH)
    module = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
    layer = "down.0.transformer.layers.0.self_attention.out.weight"
    exact = plain.net.state_dict()[layer].double() + STRENGTH * changes[module].whole
    assert changed.net.state_dict()[layer].dtype == dtype
    off = (changed.net.state_dict()[layer].double() - exact).abs() / exact.abs().clamp(min=torch.finfo(dtype).tiny)
    assert off.max() < 0.5001 * torch.finfo(dtype).eps


def test_a_module_of_a_layout_is_in_one_place_only(base):
    for kind in ("sd1", "sdxl", "flux"):
        net, spec = base(kind).net, base(kind).spec
        shapes = {name: tensor.shape[0] for name, tensor in net.state_dict().items()}
        covered: dict[str, set] = {}
        for place in places(spec.architecture, net).values():
            covered.setdefault(place.tensor, set()).update(range(place.first, place.first + place.rows))
        assert all(rows == set(range(shapes[name])) for name, rows in covered.items())


def test_the_report_tells_the_rest(theirs, base, small, write):
    _, path = small
    tensors = joined(kohya(module, change) for module, change in small[0].items())
    count = len(small[0])
    tensors |= {f"lora_te_text_model_{n}.lora_up.weight": torch.ones(1, 1) for n in range(5)}
    tensors |= joined(Change(torch.ones(6, 6), n).tensors(f"lora_unet_nowhere_{n}") for n in range(25))
    tensors |= {"bundle_emb.word": torch.ones(3)}
    tensors |= {f"lora_unet_conv_in.{part}": torch.ones(2, 2) for part in ("hada_w1_a", "hada_w1_b", "alpha")}
    tensors |= {"lora_unet_conv_out.diff": torch.ones(2, 2)}
    changed, report = with_lora(base("sd1"), write(tensors, "more"), 0.5)
    assert apart(says("sd1", changed), says("sd1", with_lora(base("sd1"), path, 0.5)[0])) == 0
    lines = dict(line.split(": ", 1) for line in report.splitlines())
    assert lines["LoRA"] == f"more.safetensors, sha256 {identity(path.with_name('more.safetensors'))}"
    assert lines["strength"] == "0.5"
    assert lines["modules changed"] == f"{count}, of rank 1, 2, 4"
    assert lines["modules not changed, their kind is not read"] == "1 of LoHa, 1 of whole differences"
    assert lines["matched nothing"].startswith("26 ('bundle_emb.word', 'lora_unet_nowhere_0.lora_down.weight'")
    assert lines["matched nothing"].count("nowhere") == 19 and lines["matched nothing"].endswith(", ...)")
    assert lines["text encoder"] == "5 tensors, which ComfyUI's LoRA loader applies to CLIP"


def test_without_alpha_it_is_the_rank(theirs, base, write):
    changes = changes_of(theirs("sd1"), None, ATTENTION)
    _, report = with_lora(base("sd1"), write(joined(peft(m, change) for m, change in changes.items())))
    assert f"alpha of {len(changes)} is taken as their rank" in report


@pytest.mark.parametrize("alpha", [torch.tensor(2), torch.tensor([2.0]), torch.tensor(2.0).half()])
def test_alpha_of_any_dtype(alpha, theirs, base, write):
    (module, change), *_ = changes_of(theirs("sd1"), 2.0, ATTENTION).items()
    tensors = kohya(module, change)
    expected, _ = with_lora(base("sd1"), write(tensors))
    (name,) = (name for name in tensors if name.endswith("alpha"))
    changed, _ = with_lora(base("sd1"), write({**tensors, name: alpha}, "other"))
    assert torch.equal(says("sd1", changed), says("sd1", expected))


def test_made_for_another_family(theirs, base, write):
    def refused(of: str, to: str, naming: Callable, words: str) -> None:
        changes = changes_of(theirs(of), which=ATTENTION)
        path = write(joined(naming(module, change) for module, change in changes.items()))
        with pytest.raises(CheckpointError, match=words):
            with_lora(base(to), path)

    refused("sdxl", "sd1", kohya, "for Stable Diffusion XL, and this denoiser is Stable Diffusion 1")
    refused("sd1", "sdxl", kohya, "for Stable Diffusion 1, and this denoiser is Stable Diffusion XL")
    refused("flux", "sd1", peft, "seems to be for Flux or one of its kin, and this denoiser is Stable Diffusion 1")
    refused("sd1", "flux", kohya, "for Stable Diffusion 1, and this denoiser is Flux dev")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["lora_unet_conv_in.hada_w1_a"], "LoHa, which is not read"),
        (["lora_unet_conv_in.lokr_w1"], "LoKr, which is not read"),
        (["lora_unet_conv_in.weight", "lora_unet_conv_in.on_input"], "IA3, which is not read"),
        (
            [f"unet.conv_in.{end}" for end in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")],
            "DoRA, which is not read",
        ),
        (["lora_te_text_model_x.lora_up.weight", "lora_te_text_model_x.lora_down.weight"], "for text encoders alone"),
        (["conv_in.weight", "conv_in.bias"], "is no LoRA"),
        (["lora_unet_joint_blocks_0_x.lora_up.weight", "lora_unet_joint_blocks_0_x.lora_down.weight"], "Diffusion 3"),
        (["lora_unet_x.lora_up.weight", "lora_unet_x.lora_down.weight"], "a net that is not known here"),
    ],
)
def test_nothing_to_change(names, words, base, write):
    with pytest.raises(CheckpointError, match=words):
        with_lora(base("sd1"), write({name: torch.ones(2, 2) for name in names}))


MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
UP, DOWN, MID, ALPHA = (f"{MODULE}.{end}" for end in ("lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha"))
GOOD = {UP: torch.ones(32, 2), DOWN: torch.ones(2, 32), ALPHA: torch.tensor(2.0)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({DOWN: None}, "has no down beside it"),
        ({UP: None}, "has no up beside it"),
        ({UP: torch.ones(32, 3)}, r"do not belong together.*\[32, 3\]"),
        ({UP: torch.ones(32)}, "do not belong together"),
        ({UP: torch.ones(32, 2, 3, 3)}, "do not belong together"),
        ({DOWN: torch.tensor(1.0)}, "do not belong together"),
        ({UP: torch.ones(32, 0), DOWN: torch.ones(0, 32)}, "do not belong together"),
        ({UP: torch.ones(32, 5000), DOWN: torch.ones(5000, 32)}, "do not belong together"),
        ({MID: torch.ones(3, 2, 1, 1)}, "do not belong together"),
        ({MID: torch.tensor(1.0)}, "do not belong together"),
        ({MID: torch.ones(2)}, "do not belong together"),
        ({MID: torch.ones(2, 2, 3, 0)}, "do not belong together"),
        ({MID: torch.ones(2, 2, 3, 3)}, r"shape \[32, 32, 3, 3\], and the net's is \[32, 32\]"),
        ({ALPHA: torch.ones(2)}, "do not belong together"),
        ({UP: torch.ones(33, 2)}, r"shape \[33, 32\], and the net's is \[32, 32\]"),
        ({DOWN: torch.ones(2, 31)}, r"shape \[32, 31\], and the net's is \[32, 32\]"),
        ({UP: torch.full((32, 2), torch.nan)}, "lora_up.weight has NaN or infinity"),
        ({DOWN: torch.full((2, 32), torch.inf)}, "lora_down.weight has NaN or infinity"),
        ({UP: torch.full((32, 2), 1e30), DOWN: torch.full((2, 32), 1e30)}, "has infinity in torch.float32"),
        ({ALPHA: torch.tensor(1e30)}, "at most 1000 times the rank"),
        ({ALPHA: torch.tensor(torch.nan)}, "at most 1000 times the rank"),
        ({UP: torch.ones(32, 2, dtype=torch.int32)}, "has dtype I32"),
        ({ALPHA: torch.tensor(True)}, "has dtype BOOL"),
        ({f"unet.{MODULE.removeprefix('lora_unet_')}.lora_B.weight": torch.ones(32, 2)}, "names one module twice"),
        (
            {
                name.replace("down_blocks_0_attentions_0", "input_blocks_1_1"): tensor + 0
                for name, tensor in GOOD.items()
            },
            "names one module twice",
        ),
    ],
)
def test_hostile_files_are_refused(changed, words, theirs, write, tmp_path):
    tensors = {name: tensor for name, tensor in {**GOOD, **changed}.items() if tensor is not None}
    save_file({name: t.contiguous() for name, t in theirs("sd1").state_dict().items()}, tmp_path / "net.safetensors")
    path = write(tensors)
    with pytest.raises(CheckpointError, match=words) as error:
        with_lora(load_denoiser(tmp_path / "net.safetensors"), path)
    assert str(path) in str(error.value)


def test_damaged_files_are_refused(base, write, tmp_path):
    whole = write(GOOD).read_bytes()
    path = tmp_path / "damaged.safetensors"
    for content in (b"", b"\x80\x02pickle", whole[:-4], whole + b"x", packed(json.dumps({UP: 3}), b"")):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
            with_lora(base("sd1"), path)
    with pytest.raises(CheckpointError, match="does not exist"):
        with_lora(base("sd1"), tmp_path / "gone.safetensors")


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_strength_is_a_number(strength, base, write):
    with pytest.raises(CheckpointError, match="finite"):
        with_lora(base("sd1"), write(GOOD), strength)


def test_denoisers_that_take_none(write):
    for denoiser in (load_denoiser(), Toy()):
        with pytest.raises(CheckpointError, match="this denoiser is none of them"):
            with_lora(denoiser, write(GOOD))


def test_mutations_are_refused_or_read(base, write, tmp_path):
    """Header and body with some bytes changed: an error in words, or finite weights; nothing else."""
    whole, path, numbers = write(GOOD).read_bytes(), tmp_path / "mutated.safetensors", random.Random(3)
    refused = 0
    for _ in range(120):
        mutated = bytearray(whole)
        for _ in range(numbers.choice([1, 1, 3])):
            start = numbers.choice([0, 8, 8, 8, len(whole) - 600])
            mutated[numbers.randrange(start, min(len(whole), start + 500))] = numbers.choice(
                b'0123456789,]}"xABF\x00\xff'
            )
        path.write_bytes(mutated)
        try:
            changed, _ = with_lora(base("sd1"), path, STRENGTH)
        except CheckpointError:
            refused += 1
        else:
            assert all(tensor.isfinite().all() for tensor in changed.net.state_dict().values())
    assert 12 < refused < 120
