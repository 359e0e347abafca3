"""A LoRA file changes a net of ours as ComfyUI's own loader changes the MODEL that the net was saved from."""

from __future__ import annotations

import pytest
from comfyui.graphs import failure, kept, node
from comfyui.model_graphs import CHANGED, EXACT, apart, latents, ours, theirs
from comfyui.server import ComfyServer
from comfyui.test_own_nets import graph

pytestmark = pytest.mark.comfyui

STRENGTH = 0.8
KOHYA, PEFT = (".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")
OLDEST = ("_lora.down.weight", "_lora.up.weight")
# Of proj_mlp ComfyUI takes for granted that it is four times as wide as the net; the others are Flux 2's.
FLUX_BUT = r"proj_mlp|qkv_mlp_proj|linear_in|linear_out|single.*to_out"
# The kind of MODEL, the names of its modules, how those of tensors end, alpha (0: none).
CASES = {
    "SD 1, kohya": ("sd15", r"lora_unet_(conv|down|mid|up|time_embedding)_.*", KOHYA, 2.0),
    "SD 1, by its original names": ("sd15", r"lora_unet_(input|middle|output|out|time_embed)_.*", KOHYA, 2.0),
    "SD 1, older diffusers": ("sd15", r"unet\..*\.processor\..*", OLDEST, 0.0),
    "SDXL, kohya": ("sdxl", r"lora_unet_(input|middle|output|out|time_embed|label)_.*", KOHYA, 2.0),
    "SDXL, PEFT": ("sdxl", r"diffusion_model\..*", PEFT, 0.0),
    "Flux, kohya": ("flux", r"lora_unet_.*", KOHYA, 2.0),
    "Flux, diffusers": ("flux", rf"transformer\.(?!.*({FLUX_BUT})).*", PEFT, 0.0),
}


def save(server: ComfyServer, case: str, name: str) -> tuple[str, str]:
    """Saves a small random MODEL and a LoRA for it: the MODEL's kind, and its file on Load Denoiser's menu."""
    kind, pattern, (down, up), alpha = CASES[case]
    lora = {"name": name, "pattern": pattern, "down": down, "up": up, "alpha": alpha}
    server.free()  # a MODEL that is still known may be patched
    prompt = {
        "model": node("ProbePublishedModel", kind=kind),
        "save": node("ProbeSaveCheckpoint", model=["model", 0], name=f"{kind} for lora"),
        "lora": node("ProbeSaveLoRA", model=["model", 0], **lora),
    }
    run = server.run(prompt)
    assert run.error is None and run.outputs["lora"]["tensors"][0] > 10
    return kind, f"checkpoints/{kind} for lora.safetensors"


def changed(name: str, source: str = "loaded", strength: float = STRENGTH) -> dict:
    return node("VarifoldLoRA", denoiser=[source, 0], file=f"loras/{name}.safetensors", strength=strength)


@pytest.mark.parametrize("case", CASES)
def test_the_same_latents_as_comfyuis_loader(comfy_server, case):
    name = case.replace(",", "")
    kind, file = save(comfy_server, case, name)
    patched = node("LoraLoaderModelOnly", model=["model", 0], lora_name=f"{name}.safetensors", strength_model=STRENGTH)
    twice = changed(name, "lora", -2 * STRENGTH)
    prompt = graph(kind, file, patched=patched, lora=changed(name), twice=twice)
    prompt |= ours("mine", denoiser=["lora", 0]) | theirs("theirs", model="patched") | ours("from model", "patched")
    prompt |= ours("plain", denoiser=["loaded", 0]) | theirs("unpatched") | ours("opposite", denoiser=["twice", 0])
    run = comfy_server.run(prompt)
    mine, other, same, plain, unpatched, opposite = latents(
        comfy_server, run, "mine", "theirs", "from model", "plain", "unpatched", "opposite"
    )
    assert mine.std() > 0.5
    assert apart(mine, other) < EXACT and apart(mine, same) < EXACT and apart(plain, unpatched) < EXACT
    assert apart(mine, plain) > CHANGED and apart(opposite, plain) > CHANGED and apart(opposite, mine) > CHANGED


def test_without_a_file_it_changes_nothing(comfy_server):
    kind, file = save(comfy_server, "SD 1, kohya", "unused")
    none = node("VarifoldLoRA", denoiser=["loaded", 0], file="none", strength=1.0)
    prompt = graph(kind, file, none=none, zero=changed("unused", strength=0.0))
    for name, source in (("plain", "loaded"), ("by none", "none"), ("at zero", "zero")):
        prompt |= ours(name, denoiser=[source, 0])
    run = comfy_server.run(prompt)
    plain, *others = latents(comfy_server, run, "plain", "by none", "at zero")
    assert all((other == plain).all() for other in others)


def test_what_takes_no_lora_is_told_what_to_do(comfy_server):
    kind, file = save(comfy_server, "SD 1, kohya", "refused")
    prompt = graph(kind, file, given=node("VarifoldFromModel", model=["model", 0]))
    prompt |= {"lora": changed("refused", "given")} | ours("mine", denoiser=["lora", 0])
    assert "LoraLoaderModelOnly in front of From Model" in failure(comfy_server, prompt, "lora")
    prompt["given"] = node("VarifoldToy", shape="moons", modes=2, spread=0.05, space="ve")
    assert "is none of them" in failure(comfy_server, prompt, "lora")


def test_what_is_changed_can_leave_memory(comfy_server):
    """ComfyUI evicts the changed net and brings it back."""
    kind, file = save(comfy_server, "SD 1, kohya", "evicted")
    prompt = graph(kind, file, lora=changed("evicted"))
    prompt |= ours("mine", denoiser=["lora", 0])
    first = kept(comfy_server, comfy_server.run(prompt), "keep mine")["latent"]
    comfy_server.free()
    prompt["mine"]["inputs"]["seed"] = 8
    other = kept(comfy_server, comfy_server.run(prompt), "keep mine")["latent"]
    prompt["mine"]["inputs"]["seed"] = 7
    again = kept(comfy_server, comfy_server.run(prompt), "keep mine")["latent"]
    assert apart(first, again) < EXACT and apart(first, other) > CHANGED
