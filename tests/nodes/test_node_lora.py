"""The LoRA node: its menu, what it gives back, and what it refuses."""

import pytest
import torch
from safetensors.torch import save_file
from small_checkpoints import small_checkpoints

from varifold.models.checkpoint import identity
from varifold.nodes.lora import NONE, VarifoldLoRA
from varifold.nodes.model import ModelDenoiser

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v"
TENSOR = "down.0.transformer.layers.0.self_attention.qkv.weight"


def files() -> list[str]:
    return VarifoldLoRA.INPUT_TYPES()["required"]["file"][0]


@pytest.fixture
def denoiser(call, models_folder):
    (models_folder / "sd1.safetensors").write_bytes(small_checkpoints()["SD 1, checkpoint"].packed())
    return call("LoadDenoiser", file="sd1.safetensors")[0]


@pytest.fixture
def lora(models_folder) -> str:
    factors = {"up": torch.ones(32, 1), "down": torch.ones(1, 32)}
    save_file({f"{MODULE}.lora_{name}.weight": t for name, t in factors.items()}, models_folder / "ones.safetensors")
    return "ones.safetensors"


def test_the_menu_is_none_and_the_files(models_folder, lora, monkeypatch):
    assert files() == [NONE, lora]
    monkeypatch.setattr("varifold.nodes.lora.find", lambda: None)
    assert files() == [NONE]


def test_it_changes_a_copy(call, denoiser, lora):
    before = denoiser.net.state_dict()[TENSOR].clone()
    changed, report = call("LoRA", denoiser=denoiser, file=lora, strength=0.5)
    difference = changed.net.state_dict()[TENSOR] - before
    assert torch.equal(denoiser.net.state_dict()[TENSOR], before)
    assert not difference[:64].any() and torch.allclose(difference[64:], torch.tensor(0.5))
    assert "strength: 0.5" in report and "modules changed: 1, of rank 1" in report
    assert not any(parameter.is_inference() for parameter in changed.net.parameters())


def test_several_in_a_row(call, denoiser, lora):
    once, _ = call("LoRA", denoiser=denoiser, file=lora, strength=0.75)
    back, _ = call("LoRA", denoiser=once, file=lora, strength=-0.75)
    assert torch.allclose(back.net.state_dict()[TENSOR], denoiser.net.state_dict()[TENSOR], atol=1e-6)
    assert len({each.identity for each in (denoiser, once, back)}) == 3


def test_none_and_strength_0_give_the_denoiser_itself(call, denoiser, lora):
    given, report = call("LoRA", denoiser=denoiser)
    assert given is denoiser and report == "no LoRA: the denoiser is as it was"
    given, report = call("LoRA", denoiser=denoiser, file=lora, strength=0.0)
    assert given is denoiser and "leaves the denoiser as it is" in report


def test_what_it_refuses(call, denoiser, embedded, lora, models_folder):
    with pytest.raises(ValueError, match="LoraLoaderModelOnly in front of From Model"):
        call("LoRA", denoiser=ModelDenoiser(None, None, None, None), file=lora)
    for other in (embedded, call("Toy")[0]):
        with pytest.raises(ValueError, match="none of them"):
            call("LoRA", denoiser=other, file=lora)
    for name in ("gone.safetensors", "../../etc/passwd"):
        with pytest.raises(ValueError, match="in the LoRA folder: choose another"):
            call("LoRA", denoiser=denoiser, file=name)
    with pytest.raises(ValueError, match=r"sd1\.safetensors is no LoRA"):
        call("LoRA", denoiser=denoiser, file="sd1.safetensors")
    with pytest.raises(ValueError, match="a LoRA, not a whole model"):
        call("LoadDenoiser", file=lora)


def test_is_changed_follows_what_is_in_the_file(models_folder, lora):
    assert VarifoldLoRA.IS_CHANGED(None, lora, 1.0) == identity(models_folder / lora)
    assert type(VarifoldLoRA.IS_CHANGED(None, NONE, 1.0)) is str
