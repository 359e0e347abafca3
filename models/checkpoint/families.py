"""Which family a checkpoint belongs to: the layouts that can be read, and hints for the rest."""

from . import (
    dit_diffusers_layout,
    dit_layout,
    flux_diffusers_layout,
    flux_layout,
    sd_diffusers_layout,
    sd_layout,
    varifold_layout,
)
from .header import Header
from .layout import Match
from .spec import GENERATOR_KEY

LAYOUTS = {
    varifold_layout.FAMILY: varifold_layout.match,
    sd_layout.FAMILY: sd_layout.match,
    sd_diffusers_layout.FAMILY: sd_diffusers_layout.match,
    dit_layout.FAMILY: dit_layout.match,
    dit_diffusers_layout.FAMILY: dit_diffusers_layout.match,
    flux_layout.FAMILY: flux_layout.match,
    flux_diffusers_layout.FAMILY: flux_diffusers_layout.match,
}

OTHER_LOADER = "load it with ComfyUI's own nodes and wire it into From Model (Varifold)"
GENERATOR = "a generator of Varifold's, a VAE, an autoencoder or a GAN, and no denoiser"
GENERATOR_LOADER = "load it with Load Generator (Varifold)"
AUTOENCODER = "choose it as Load Denoiser's autoencoder, or load it with ComfyUI's VAE loader"
# (what the names of its tensors hold, what it seems to be, what to do), the first that fits
FOREIGN = (
    ("lora_", "a LoRA, not a whole model", "choose it in LoRA (Varifold), behind Load Denoiser"),
    (".lora_A.", "a LoRA, not a whole model", "choose it in LoRA (Varifold), behind Load Denoiser"),
    ("joint_blocks.", "a Stable Diffusion 3 checkpoint", OTHER_LOADER),
    ("model.diffusion_model.", "a diffusion model of a family that is not read", OTHER_LOADER),
    ("control_model.", "a ControlNet", "load it with ComfyUI's ControlNet loader"),
    ("first_stage_model.", "an autoencoder (VAE)", AUTOENCODER),
    ("decoder.conv_in.", "an autoencoder (VAE)", AUTOENCODER),
    ("text_model.encoder.", "a CLIP text encoder", "load it with ComfyUI's CLIP loader"),
    ("down_blocks.", "a U-Net of the diffusers library, of a kind that is not read", OTHER_LOADER),
    ("transformer_blocks.", "a transformer of the diffusers library, of a kind that is not read", OTHER_LOADER),
)


def recognise(header: Header) -> Match:
    """The match of the first layout that fits. Raises ValueError with what the file seems to be if none does."""
    if GENERATOR_KEY in header.metadata:
        raise ValueError(f"it is {GENERATOR}: {GENERATOR_LOADER}")
    for layout in LAYOUTS.values():
        if match := layout(header):
            return match
    seems, remedy = next(
        ((what, remedy) for part, what, remedy in FOREIGN if any(part in name for name in header.tensors)),
        ("a file whose family its tensors' names do not tell", "choose another file"),
    )
    raise ValueError(f"it seems to be {seems}; what is read: {', '.join(LAYOUTS)}. Instead {remedy}")
