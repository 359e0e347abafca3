"""Nodes for tests, loaded into the real ComfyUI beside the pack: they make foreign things and keep what they get."""

import os

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import folder_paths
import numpy as np
import torch

from . import published, sam3, shaped

TYPES = {
    "ve": comfy.model_base.ModelType.EPS,
    "flow": comfy.model_base.ModelType.FLOW,
}


class ProbeKeep:
    """Saves what it gets as probe/<number>.npz in the output folder, unrounded."""

    FUNCTION = "keep"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()
    count = 0

    @classmethod
    def INPUT_TYPES(cls):
        kinds = {"image": "IMAGE", "mask": "MASK", "latent": "LATENT", "sigmas": "SIGMAS"}
        return {"required": {}, "optional": {name: (kind,) for name, kind in kinds.items()}}

    def keep(self, latent=None, **tensors):
        arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
        if latent is not None:
            arrays["latent"] = latent["samples"].float().numpy()
            arrays["batch_index"] = np.array(latent.get("batch_index", []))
        folder = folder_paths.get_output_directory() + "/probe"
        os.makedirs(folder, exist_ok=True)
        ProbeKeep.count += 1
        np.savez(f"{folder}/{ProbeKeep.count}.npz", **arrays)
        return {"ui": {"kept": [f"probe/{ProbeKeep.count}.npz"]}}


class ProbeFloat16:
    FUNCTION = "cast"
    CATEGORY = "probe"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def cast(self, image):
        return (image.half(),)


class ProbeForeignConditioning:
    """What ComfyUI's CLIPTextEncode gives."""

    FUNCTION = "encode"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"level": ("FLOAT", {"default": 0.0, "min": -1.0, "max": 1.0})}}

    def encode(self, level):
        return ([[torch.full((1, 77, 768), level), {"pooled_output": torch.zeros(1, 768)}]],)


class ProbeLoadedModels:
    """Names the nets that ComfyUI holds in memory, each time anew, once `after` has been made."""

    FUNCTION = "tell"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": {"after": ("IMAGE",)}}

    @classmethod
    def IS_CHANGED(cls, after=None):
        return float("nan")

    def tell(self, after=None):
        held = comfy.model_management.current_loaded_models
        return {"ui": {"names": [type(loaded.model.model).__name__ for loaded in held]}}


class TinyNet(torch.nn.Module):
    """A net that bends: what it says depends on the state, the noise level and the prompt."""

    dtype = torch.float32

    def __init__(self, **_config):
        super().__init__()
        self.mix = torch.nn.Conv2d(4, 4, 3, padding=1)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(3))

    def forward(self, x, timesteps, context=None, **_rest):
        level = (timesteps.float() / 1000 + context.mean((1, 2))).view(-1, 1, 1, 1)
        return x * 0.9 + torch.tanh(self.mix(x) + level) * 0.3


class ProbeModel:
    """A real MODEL with a tiny net, of Stable Diffusion's kind or of flow models'."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"space": (list(TYPES),)}}

    @torch.inference_mode(False)
    def make(self, space):
        config = comfy.supported_models.SD15({"in_channels": 4, "model_channels": 320, "context_dim": 768})
        net = comfy.model_base.BaseModel(config, model_type=TYPES[space], unet_model=TinyNet)
        cpu = torch.device("cpu")
        return (comfy.model_patcher.ModelPatcher(net, load_device=cpu, offload_device=cpu),)


OWN = (ProbeKeep, ProbeFloat16, ProbeForeignConditioning, ProbeLoadedModels, ProbeModel)
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (*OWN, *shaped.NODES, *published.NODES, *sam3.NODES)}
