"""MODELs of the widths by which files are told apart, small and random, and saved as their publishers save them."""

import re
from pathlib import Path

import comfy.lora
import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import folder_paths
import torch
from safetensors.torch import save_file

from .shaped import CPU, FLUX, UNET, XL, randomised

SD15 = UNET | {"context_dim": 768, "num_heads": 8, "num_head_channels": -1}
SDXL = XL | {
    "model_channels": 64,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_heads": -1,
    "num_head_channels": 64,
}
WIDTHS = {"sd15": (768, 768), "sdxl": (2048, 1280), "flux": (FLUX["context_in_dim"], FLUX["vec_in_dim"])}
V = comfy.model_base.ModelType.V_PREDICTION


def sd15(config):
    return comfy.model_base.BaseModel(config(comfy.supported_models.SD15, SD15))


def sd15_v(config):
    return comfy.model_base.BaseModel(config(comfy.supported_models.SD15, SD15), V)


def sd15_inpainting(config):
    model = comfy.model_base.BaseModel(config(comfy.supported_models.SD15, SD15 | {"in_channels": 9}))
    model.set_inpaint()
    return model


def sdxl(config):
    return comfy.model_base.SDXL(config(comfy.supported_models.SDXL, SDXL))


def flux(config):
    return comfy.model_base.Flux(config(comfy.supported_models.Flux, FLUX))


KINDS = {make.__name__: make for make in (sd15, sd15_v, sd15_inpainting, sdxl, flux)}


class ProbePublishedModel:
    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (list(KINDS),)}}

    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self, kind):
        def config(family, unet):
            made = family(unet)
            made.set_inference_dtype(torch.float32, None)
            return made

        model = KINDS[kind](config)
        randomised(model.diffusion_model, 3)
        return (comfy.model_patcher.ModelPatcher(model, load_device=CPU, offload_device=CPU),)


class ProbeSaveCheckpoint:
    """Saves a MODEL's net, and a VAE's if there is one, as checkpoints/<name>.safetensors."""

    FUNCTION = "save"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "name": ("STRING",)}, "optional": {"vae": ("VAE",)}}

    def save(self, model, name, vae=None):
        parts = {"model.diffusion_model.": model.model.diffusion_model}
        parts |= {} if vae is None else {"first_stage_model.": vae.first_stage_model}
        tensors = {
            prefix + key: tensor.clone() for prefix, net in parts.items() for key, tensor in net.state_dict().items()
        }
        folder = Path(folder_paths.models_dir) / "checkpoints"
        folder.mkdir(exist_ok=True)
        save_file(tensors, folder / f"{name}.safetensors")
        return {}


class ProbeSaveLoRA:
    """Saves a random LoRA for a MODEL as loras/<name>.safetensors.

    It is for all weights that ComfyUI knows by a name like `pattern`; `down` and `up` end the names of its tensors.
    """

    FUNCTION = "save"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        texts = dict.fromkeys(("name", "pattern", "down", "up"), ("STRING",))
        return {"required": {"model": ("MODEL",), **texts, "alpha": ("FLOAT", {"min": 0.0})}}

    def save(self, model, name, pattern, down, up, alpha):
        generator, rank, tensors = torch.Generator().manual_seed(9), 4, {}
        weights = model.model.state_dict()
        for key, target in comfy.lora.model_lora_keys_unet(model.model, {}).items():
            weight, *part = (target,) if isinstance(target, str) else target
            if not re.fullmatch(pattern, key) or weight not in weights or weights[weight].ndim < 2:
                continue
            rows, columns, *kernel = weights[weight].shape
            if part and part[0]:
                rows = part[0][2]
            tensors[key + up] = torch.randn(rows, rank, *[1] * len(kernel), generator=generator) / 4
            tensors[key + down] = torch.randn(rank, columns, *kernel, generator=generator) * columns**-0.5
            if alpha:
                tensors[f"{key}.alpha"] = torch.tensor(alpha)
        folder = Path(folder_paths.models_dir) / "loras"
        folder.mkdir(exist_ok=True)
        save_file(tensors, folder / f"{name}.safetensors")
        return {"ui": {"tensors": [len(tensors)]}}


class ProbePublishedText:
    """What the text encoder of a family gives."""

    FUNCTION = "encode"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"family": (list(WIDTHS),), "seed": ("INT",), "tokens": ("INT",)}}

    def encode(self, family, seed, tokens):
        generator = torch.Generator().manual_seed(seed)
        context, pooled = WIDTHS[family]
        words = torch.randn(1, tokens, context, generator=generator)
        return ([[words, {"pooled_output": torch.randn(1, pooled, generator=generator)}]],)


NODES = (ProbePublishedModel, ProbeSaveCheckpoint, ProbeSaveLoRA, ProbePublishedText)
