"""MODELs and VAEs of ComfyUI: what they are, and our loop inside ComfyUI's guider, so that all its patches act."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ...models.denoising.space import FLOW, VE, Space
from . import Facts, Run, Style

if TYPE_CHECKING:
    from torch import Tensor

    from ...models.denoising.guidance import Guidance


class ComfyModels:
    """See `nodes.host.Models`."""

    def facts(self, model: Any) -> Facts:
        sampling, latents = model.get_model_object("model_sampling"), model.get_model_object("latent_format")
        side = 512 if isinstance(latents, comfy.latent_formats.SD15) else 1024
        return Facts(
            space=_space(sampling),
            sigma_min=float(sampling.sigma_min),
            sigma_max=float(sampling.sigma_max),
            channels=latents.latent_channels,
            dimensions=latents.latent_dimensions,
            downscale=latents.spacial_downscale_ratio,
            side=side,
            noise_scale=float(getattr(sampling, "noise_scale", 1.0)),
        )

    def identity(self, model: Any) -> tuple[str, str]:
        # Patches of what it says, unlike those of its weights, leave patches_uuid alone.
        replaced = {name: id(patch) for name, patch in model.object_patches.items()}
        return type(model.model).__name__, f"{model.patches_uuid} {model.model_options} {model.wrappers} {replaced}"

    def sigma_table(self, model: Any) -> list[float]:
        return model.get_model_object("model_sampling").sigmas.cpu().double().tolist()

    def model_inside(self, model: Any) -> Any:
        return model.inner_model.model_patcher

    def catching_negatives(self, extra_args: dict) -> tuple[dict, Callable[[], Tensor]]:
        caught = {}

        def catch(args: dict) -> Tensor:
            caught["x0"] = args["uncond_denoised"]
            return args["denoised"]

        options = comfy.model_patcher.set_model_options_post_cfg_function(
            extra_args.get("model_options", {}).copy(), catch, disable_cfg1_optimization=True
        )
        return {**extra_args, "model_options": options}, lambda: caught["x0"]

    def fitted(self, model: Any, latent: dict[str, Any]) -> Tensor:
        downscale = latent.get("downscale_ratio_spacial")
        return comfy.sample.fix_empty_latent_channels(model, latent["samples"], downscale)

    def draw(
        self,
        model: Any,
        run: Run,
        *,
        positive: list,
        negative: list,
        guidance: Guidance,
        scale: float,
        sigmas: Tensor,
        seed: int,
        noise: Tensor,
        latent: Tensor,
        mask: Tensor | None,
        pairs: bool,
    ) -> Tensor:
        level = 0.0

        def denoise(model_k: Callable, x: Tensor, sigmas: Tensor, extra_args: dict, **_rest: Any) -> Tensor:
            if pairs:
                extra_args, negative = self.catching_negatives(extra_args)

            def D(x: Tensor, sigma: float) -> Any:
                nonlocal level
                level = sigma
                guider.set_cfg(scale if guidance.acts(sigma) else 1.0)
                x0 = model_k(x, x.new_full([x.shape[0]], sigma), **extra_args)
                return (x0, negative()) if pairs else x0

            return run(D, x)

        if guidance.method != "cfg":
            _check_attention(model, guidance)
            model, combine = model.clone(), guidance.combine(scale)

            def guided(args: dict) -> Tensor:
                x, positive = args["input"], args["cond_denoised"]
                if not (guidance.changes(scale) and guidance.acts(level)):
                    return x - positive
                others = _others(args, guidance.other, guider)
                return x - combine(positive, args["uncond_denoised"], x, level, *others)

            model.set_model_sampler_cfg_function(guided)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        if guidance.other == "empty":
            guider.inner_set_conds({"empty": guidance.empty})
        drawn = guider.sample(noise, latent, comfy.samplers.KSAMPLER(denoise), sigmas, mask, seed=seed)
        return drawn.to(comfy.model_management.intermediate_device())

    def styled(self, model: Any, vae: Any, style: Style) -> Any:
        # It needs a newer ComfyUI than all the rest does.
        from .comfyui_style import styled

        return styled(model, vae, style, self.facts(model), self.encode)

    def encode(self, vae: Any, rgb: Tensor) -> Tensor:
        return vae.encode(rgb)

    def decode(self, vae: Any, samples: Tensor) -> Tensor:
        rgb = vae.decode(samples)
        return rgb.reshape(-1, *rgb.shape[-3:])[..., :3].float().cpu()

    def to_wire(self, model: Any, x0: Tensor) -> Tensor:
        return model.model.process_latent_out(x0.float())

    def from_wire(self, model: Any, samples: Tensor) -> Tensor:
        return model.model.process_latent_in(samples.float())

    def rough(self, model: Any, x0: Tensor) -> Tensor:
        latents = model.get_model_object("latent_format")
        if latents.latent_rgb_factors_reshape is not None:
            x0 = latents.latent_rgb_factors_reshape(x0)
        x0 = x0.float().movedim(1, -1)
        if latents.latent_rgb_factors is None:
            return x0.mean(-1, keepdim=True).sigmoid().expand(*x0.shape[:-1], 3)
        rgb = x0 @ torch.tensor(latents.latent_rgb_factors).to(x0)
        if latents.latent_rgb_factors_bias is not None:
            rgb = rgb + torch.tensor(latents.latent_rgb_factors_bias).to(x0)
        return ((rgb + 1) / 2).clamp(0, 1)


def _space(sampling: Any) -> Space:
    return FLOW if isinstance(sampling, comfy.model_sampling.CONST) else VE


def _check_attention(model: Any, guidance: Guidance) -> None:
    if guidance.other == "perturbed" and not isinstance(model.model.diffusion_model, UNetModel):
        raise ValueError("pag needs a MODEL that is a U-Net, with attention in its middle: SD 1.5 or SDXL for instance")


def _others(args: dict, other: str | None, guider: comfy.samplers.CFGGuider) -> list[Tensor]:
    """The third prediction, by a call of its own, if guidance takes one."""
    if other is None:
        return []
    conds, options = args["input_cond"], args["model_options"]
    if other == "empty":
        conds = guider.conds["empty"]
    else:
        options = comfy.model_patcher.set_model_options_patch_replace(
            options.copy(), _look_nowhere, "attn1", "middle", 0
        )
    return comfy.samplers.calc_cond_batch(args["model"], [conds], args["input"], args["timestep"], options)


def _look_nowhere(query: Tensor, key: Tensor, value: Tensor, *_rest: Any, **_options: Any) -> Tensor:
    return value
