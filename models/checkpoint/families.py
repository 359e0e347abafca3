"""Which family a checkpoint belongs to: the layouts that can be read, and hints for the rest."""

from . import varifold_layout
from .header import Header
from .layout import Match

LAYOUTS = {varifold_layout.FAMILY: varifold_layout.match}

OTHER_LOADER = "load and sample it with ComfyUI's own nodes; Solver (Varifold) works in SamplerCustom"
# (what the names of its tensors hold, what it seems to be, what to do), the first that fits
FOREIGN = (
    ("lora_", "a LoRA, not a whole model", "apply it with ComfyUI's LoRA loader"),
    (".lora_A.", "a LoRA, not a whole model", "apply it with ComfyUI's LoRA loader"),
    ("conditioner.embedders.", "a Stable Diffusion XL checkpoint", OTHER_LOADER),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint", OTHER_LOADER),
    ("model.diffusion_model.double_blocks.", "a Flux checkpoint", OTHER_LOADER),
    ("model.diffusion_model.", "a Stable Diffusion checkpoint", OTHER_LOADER),
    ("joint_blocks.", "the diffusion model of Stable Diffusion 3", OTHER_LOADER),
    ("double_blocks.", "the diffusion model of Flux", OTHER_LOADER),
    ("control_model.", "a ControlNet", "load it with ComfyUI's ControlNet loader"),
    ("first_stage_model.", "an autoencoder (VAE)", "load it with ComfyUI's VAE loader"),
    ("decoder.conv_in.", "an autoencoder (VAE)", "load it with ComfyUI's VAE loader"),
    ("text_model.encoder.", "a CLIP text encoder", "load it with ComfyUI's CLIP loader"),
    ("down_blocks.", "a U-Net of the diffusers library", OTHER_LOADER),
    ("transformer_blocks.", "a transformer of the diffusers library", OTHER_LOADER),
)


def recognise(header: Header) -> Match:
    """The match of the first layout that fits. Raises ValueError with what the file seems to be if none does."""
    for layout in LAYOUTS.values():
        if match := layout(header):
            return match
    seems, remedy = next(
        ((what, remedy) for part, what, remedy in FOREIGN if any(part in name for name in header.tensors)),
        ("a file whose family its tensors' names do not tell", "choose another file"),
    )
    raise ValueError(f"it seems to be {seems}; this loader reads only: {', '.join(LAYOUTS)}. Instead {remedy}")
