"""MODELs of the shapes that people use, with ComfyUI's own nets, small and random; and what goes with them."""

import copy
import gc
import zlib

import comfy.cldm.cldm
import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.flux.controlnet
import comfy.model_base
import comfy.model_patcher
import comfy.nested_tensor
import comfy.ops
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import node_helpers
import torch

CPU = torch.device("cpu")
CONTEXT, POOLED = 32, 16
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": CONTEXT,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "legacy": False,
}
XL = UNET | {
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1],
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": POOLED + 6 * 256,
}
FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": POOLED,
    "context_in_dim": CONTEXT,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
FLUX2 = FLUX | {"in_channels": 128, "out_channels": 128, "patch_size": 1, "axes_dim": [4, 4, 4, 4], "txt_ids_dims": [3]}


def randomised(net, seed):
    """The net with every parameter random, of the usual sizes: nothing is left at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        of_a_norm = parameter.ndim < 2 and not name.endswith("bias")
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data.copy_(of_a_norm + scale * values)
    return net


def sd15(config, model_type=comfy.model_base.ModelType.EPS):
    return comfy.model_base.BaseModel(config(comfy.supported_models.SD15, UNET), model_type)


def sd15_v(config):
    return sd15(config, comfy.model_base.ModelType.V_PREDICTION)


def sd15_inpaint(config):
    model = comfy.model_base.BaseModel(config(comfy.supported_models.SD15, UNET | {"in_channels": 9}))
    model.set_inpaint()
    return model


def sdxl(config):
    return comfy.model_base.SDXL(config(comfy.supported_models.SDXL, XL))


def flux(config):
    return comfy.model_base.Flux(config(comfy.supported_models.Flux, FLUX))


def flux_fill(config):
    return comfy.model_base.Flux(config(comfy.supported_models.Flux, FLUX | {"in_channels": 96}))


def flux2(config):
    return comfy.model_base.Flux2(config(comfy.supported_models.Flux2, FLUX2))


def video(config):
    """An SD 1.5 net that says it draws videos."""
    model = sd15(config)
    model.latent_format = comfy.latent_formats.Wan21()
    return model


KINDS = {make.__name__: make for make in (sd15, sd15_v, sd15_inpaint, sdxl, flux, flux_fill, flux2, video)}


def unit_outputs(net, kind):
    """Scales the last layer, so that outputs for unit normals are of their size."""
    channels = {"flux": 16, "flux_fill": 96, "flux2": 128, "sd15_inpaint": 9}.get(kind, 4)
    x = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    conds = {"context": torch.ones(2, 4, CONTEXT)}
    if kind == "sdxl":
        conds["y"] = torch.ones(2, XL["adm_in_channels"])
    if kind.startswith("flux"):
        conds |= {"y": torch.ones(2, POOLED), "guidance": torch.full((2,), 3.5)}
    spread = net(x, torch.full((2,), 500.0), **conds).std()
    for parameter in (net.final_layer.linear if kind.startswith("flux") else net.out[2]).parameters():
        parameter.data /= spread


class ProbeShapedModel:
    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        dtype = (list(DTYPES), {"default": "float32"})
        return {"required": {"kind": (list(KINDS),)}, "optional": {"dtype": dtype, "seed": ("INT", {"default": 3})}}

    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self, kind, dtype="float32", seed=3):
        def config(family, unet):
            made = family(unet)
            made.set_inference_dtype(torch.float32, None)
            return made

        model = KINDS[kind](config)
        net = randomised(model.diffusion_model, seed)
        unit_outputs(net, kind)
        net.to(DTYPES[dtype])
        net.dtype = DTYPES[dtype]
        return (comfy.model_patcher.ModelPatcher(model, load_device=CPU, offload_device=CPU),)


class ProbeText:
    """What a text encoder gives, for any of the kinds."""

    FUNCTION = "encode"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": ("INT", {"default": 0}), "tokens": ("INT", {"default": 7})}}

    def encode(self, seed, tokens):
        generator = torch.Generator().manual_seed(seed)
        words = torch.randn(1, tokens, CONTEXT, generator=generator)
        pooled = torch.randn(1, POOLED, generator=generator)
        return ([[words, {"pooled_output": pooled}]],)


class MadeUpWords:
    """What nodes ask of a CLIP: the same numbers for the same words."""

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        return ProbeText().encode(zlib.crc32(text.encode()), tokens=7)[0]


class ProbeCLIP:
    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (MadeUpWords(),)


class ProbeSizes:
    """What CLIPTextEncodeSDXL says beside words."""

    FUNCTION = "set"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"conditioning": ("CONDITIONING",), "width": ("INT",), "crop_w": ("INT",)}}

    def set(self, conditioning, **sizes):
        return (node_helpers.conditioning_set_values(conditioning, sizes),)


class ProbeAttentionMask:
    """What Apply Style Model says with a strength of "attn_bias"."""

    FUNCTION = "set"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"conditioning": ("CONDITIONING",)}}

    def set(self, conditioning):
        tokens = conditioning[0][0].shape[1] + 4
        said = {"attention_mask": torch.zeros(1, tokens, tokens), "attention_mask_img_shape": (2, 2)}
        return (node_helpers.conditioning_set_values(conditioning, said),)


class ProbeNumbered:
    """A LATENT of one picture with a number, which may be negative."""

    FUNCTION = "number"
    CATEGORY = "probe"
    RETURN_TYPES = ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "number": ("INT", {"default": 0, "min": -9})}}

    def number(self, latent, number):
        return ({**latent, "batch_index": [number]},)


class ProbeVAE:
    """A real VAE with the small net of TAESD."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("VAE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"channels": ("INT", {"default": 4})}}

    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self, channels):
        net = comfy.taesd.taesd.TAESD(latent_channels=channels)
        for part in (net.taesd_encoder, net.taesd_decoder):
            randomised(part, 5)
        net.taesd_decoder[-1].bias.fill_(0.5)
        return (comfy.sd.VAE(sd=net.state_dict()),)


class ProbeCheckpoint:
    """All that CheckpointLoaderSimple gives."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (list(KINDS),)}}

    def make(self, kind):
        return (*ProbeShapedModel().make(kind), *ProbeCLIP().make(), *ProbeVAE().make(4))


class ProbeControlNet:
    """A ControlNet, its layers not zero; of Flux there are those that look at a picture, and at its latent."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("CONTROL_NET",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (["sd15", "sdxl", "flux", "flux_latent"],)}}

    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self, kind):
        if kind.startswith("flux"):
            return (self.of_flux(in_latents=kind == "flux_latent"),)
        heads = {"num_heads": 8} if kind == "sd15" else {"num_head_channels": 64}
        config = {"sd15": UNET, "sdxl": XL}[kind] | heads | {"hint_channels": 3, "dtype": torch.float32}
        del config["out_channels"]
        net = randomised(comfy.cldm.cldm.ControlNet(**config), 9)
        return (comfy.controlnet.ControlNet(net, load_device=CPU),)

    def of_flux(self, in_latents):
        common = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32}
        net = randomised(comfy.ldm.flux.controlnet.ControlNetFlux(latent_input=in_latents, **FLUX, **common), 9)
        at = {"compression_ratio": 1, "latent_format": comfy.latent_formats.Flux()} if in_latents else {}
        return comfy.controlnet.ControlNet(net, load_device=CPU, extra_conds=["y", "guidance"], **at)


class ProbeCalls:
    """Patches a MODEL to count its calls, the number of conditions in each, and to multiply what it says."""

    FUNCTION = "patch"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)
    calls: dict = {}

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "name": ("STRING", {})}, "optional": {"gain": ("FLOAT", {})}}

    def patch(self, model, name, gain=1.0):
        calls = self.calls[name] = []

        def wrapper(apply_model, args):
            calls.append(len(args["cond_or_uncond"]))
            return gain * apply_model(args["input"], args["timestep"], **args["c"])

        model = model.clone()
        model.set_model_unet_function_wrapper(wrapper)
        return (model,)


class ProbeTellCalls:
    FUNCTION = "tell"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING",), "after": ("LATENT",)}}

    def tell(self, name, after):
        return {"ui": {"calls": ProbeCalls.calls[name]}}


class ProbeRescale:
    """Lin et al. (2023), eq. 16, on x0: what the rescaling guidance of ours should say."""

    FUNCTION = "patch"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "phi": ("FLOAT",)}}

    def patch(self, model, phi):
        def rescale(args):
            positive, negative = args["cond_denoised"], args["uncond_denoised"]
            x0 = negative + args["cond_scale"] * (positive - negative)
            spread = [picture.std(dim=(1, 2, 3), keepdim=True) for picture in (positive, x0)]
            return args["input"] - (phi * x0 * spread[0] / spread[1] + (1 - phi) * x0)

        model = model.clone()
        model.set_model_sampler_cfg_function(rescale)
        return (model,)


class ProbeBreak:
    """A MODEL that says NaN from a noise level down."""

    FUNCTION = "patch"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "below": ("FLOAT",)}}

    def patch(self, model, below):
        def wrapper(apply_model, args):
            said = apply_model(args["input"], args["timestep"], **args["c"])
            return said * float("nan") if args["timestep"][0] < below else said

        model = model.clone()
        model.set_model_unet_function_wrapper(wrapper)
        return (model,)


class ProbeAlive:
    """The kinds of the nets that anything in the process still holds."""

    FUNCTION = "tell"
    CATEGORY = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):
        return float("nan")

    def tell(self):
        gc.collect()
        kinds = (type(thing) for thing in gc.get_objects())
        return {"ui": {"names": [kind.__name__ for kind in kinds if issubclass(kind, torch.nn.Module)]}}


class ProbeLatent:
    """A LATENT of any shape, with more than one part if `parts` is."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        inputs = {"shape": ("STRING", {}), "level": ("FLOAT", {})}
        return {"required": inputs, "optional": {"parts": ("INT", {"default": 1})}}

    def make(self, shape, level, parts=1):
        generator = torch.Generator().manual_seed(1)
        size = [int(side) for side in shape.split()]
        samples = level * torch.randn(size, generator=generator)
        if parts > 1:
            samples = comfy.nested_tensor.NestedTensor([samples, copy.deepcopy(samples)])
        return ({"samples": samples},)


class ProbePicture:
    """A picture of smooth random colours."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        names = {"width": 64, "height": 48, "batch": 1, "seed": 0}
        return {"required": {}, "optional": {name: ("INT", {"default": usual}) for name, usual in names.items()}}

    def make(self, width=64, height=48, batch=1, seed=0):
        colours = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        picture = torch.nn.functional.interpolate(colours, (height, width), mode="bicubic")
        return (picture.clamp(0, 1).movedim(1, -1),)


NODES = (
    ProbeShapedModel,
    ProbeText,
    ProbeCLIP,
    ProbeSizes,
    ProbeAttentionMask,
    ProbeNumbered,
    ProbeVAE,
    ProbeCheckpoint,
    ProbeControlNet,
    ProbeCalls,
    ProbeTellCalls,
    ProbeRescale,
    ProbeBreak,
    ProbeAlive,
    ProbeLatent,
    ProbePicture,
)
