"""A style in a MODEL of ComfyUI: in each call its pictures are rows beside those drawn, which look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP

from ...models.sampling.noise import Noise
from ..resize import cover
from . import Facts, Style
from .comfyui_style_attention import Block, Shared, where_to_share

if TYPE_CHECKING:
    from torch import Tensor

KEY = "varifold style"
SMALL = (8, 8)  # the latent by which a VAE is tried


def styled(model: Any, vae: Any, style: Style, facts: Facts, encode: Callable[[Any, Tensor], Tensor]) -> Any:
    """See `nodes.host.Models.styled`."""
    sampling = model.get_model_object("model_sampling")
    start, end = (float(sampling.percent_to_sigma(percent)) for percent in (style.start, style.end))
    for other in model.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        if max(end, other.end) < min(start, other.start):
            raise ValueError(
                "this MODEL has a style at the same noise levels: wire the second picture into style_2 of one Style "
                "Model, or let one end where the other starts"
            )
    shared, blocks = where_to_share(model.model, style.composition)
    pictures = Pictures(vae, facts, encode, style)
    pictures.latents(SMALL)  # a VAE that does not fit is found here, not in a run
    calls = Calls(pictures, style, start, end, shared, blocks)
    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, calls)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, calls.prepare)
    return model


class Pictures:
    """The pictures of a style as latents and unit normals [S, C, h, w], of any size asked for."""

    def __init__(self, vae: Any, facts: Facts, encode: Callable[[Any, Tensor], Tensor], style: Style):
        self.vae, self.facts, self.encode, self.style = vae, facts, encode, style
        self.encoded: dict[tuple[int, int], Tensor] = {}
        self.noises: dict[tuple[int, int], Tensor] = {}

    def __len__(self) -> int:
        return len(self.style.pictures)

    def latents(self, size: tuple[int, int]) -> Tensor:
        """As on LATENT wires, scaled and cropped to the size. Raises ValueError for a VAE that is not the MODEL's."""
        if size not in self.encoded:
            self.encoded[size] = torch.cat([self._encode(picture, size) for picture in self.style.pictures])
        return self.encoded[size]

    def noise(self, size: tuple[int, int]) -> Tensor:
        if size not in self.noises:
            # No picture drawn has these streams: with the noise of the style it would be laid out like the style.
            streams = [-1 - number for number in range(len(self))]
            self.noises[size] = Noise(self.style.seed, streams, (self.facts.channels, *size))(0)
        return self.noises[size]

    def _encode(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        facts, pixels = self.facts, tuple(self.facts.downscale * side for side in size)
        latent = self.encode(self.vae, cover(picture, pixels, enlarge="bicubic").movedim(1, -1).clamp(0, 1))
        if latent.shape != (1, facts.channels, *size):
            raise ValueError(
                f"this MODEL works on {facts.channels} channels of {size[1]}×{size[0]} for a picture of "
                f"{pixels[1]}×{pixels[0]}, and this VAE makes {list(latent.shape[1:])}: wire the MODEL's own"
            )
        if not latent.isfinite().all():
            raise ValueError("this VAE makes NaN of the style: start ComfyUI with --fp32-vae, or wire another VAE")
        return latent


class Calls:
    """Every call of the net, with the style's rows in it while σ is in the interval."""

    def __init__(
        self, pictures: Pictures, style: Style, start: float, end: float, shared: type[Shared], blocks: set[Block]
    ):
        self.pictures, self.style, self.start, self.end = pictures, style, start, end
        self.shared, self.blocks = shared, blocks
        self.parts = 1 + len(pictures)

    def prepare(self, prepare: Callable, model: Any, noise_shape: tuple[int, ...], *rest: Any, **named: Any) -> Any:
        """Encode while the net need not be in memory, and have room made there for as many rows as there will be."""
        self.pictures.latents(tuple(noise_shape[-2:]))
        return prepare(model, [self.parts * noise_shape[0], *noise_shape[1:]], *rest, **named)

    def __call__(
        self,
        call: Any,
        x: Tensor,
        sigma: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: dict | None = None,
        transformer_options: dict | None = None,
        **conds: Any,
    ) -> Tensor:
        options = dict(transformer_options or {})
        if not self.end < float(sigma[0]) <= self.start:
            return call(x, sigma, c_concat, c_crossattn, control, options, **conds)
        # A row of the style for each row drawn, positive and negative alike, as StyleAligned has it: with the style in
        # both halves guidance strengthens what the prompt says, and not the style many times over. And other patches,
        # which count rows by cond_or_uncond, find their own.
        model, count = call.class_obj, len(x)
        style = self._noised(model, x, sigma)
        if c_concat is not None:
            # What is kept of a picture, and where, is of the one drawn: of the style nothing is.
            blank = model.concat_cond(noise=style, latent_image=style, device=x.device)
            c_concat = self._repeated(c_concat, count) if blank is None else torch.cat([c_concat, blank.to(c_concat)])
        for name in {"cond_or_uncond", "uuids"} & set(options):
            options[name] = self.parts * options[name]
        self.shared(self.style, self.blocks).enter(options)
        drawn = call(
            torch.cat([x, style]),
            self._repeated(sigma, count),
            c_concat,
            self._repeated(c_crossattn, count),
            control and self._controlled(control, count),
            options,
            **{name: self._repeated(cond, count) for name, cond in conds.items()},
        )
        return drawn[:count]

    def _noised(self, model: Any, x: Tensor, sigma: Tensor) -> Tensor:
        """Of each picture as many rows as the state has, and as noisy: [S · count, C, h, w]."""
        size = tuple(x.shape[-2:])
        if size not in self.pictures.encoded:
            # Of an area. The VAE may take the memory where the net is, which must be back there for this call.
            running = comfy.model_management.loaded_models(only_currently_used=True)
            self.pictures.latents(size)
            comfy.model_management.load_models_gpu(running)
        latents = model.process_latent_in(self.pictures.latents(size))
        scaled = model.model_sampling.noise_scaling
        pairs = zip(self.pictures.noise(size), latents, strict=True)
        return torch.cat([scaled(sigma, *(part.to(x).expand_as(x) for part in pair)).to(x) for pair in pairs])

    def _repeated(self, cond: Any, count: int) -> Any:
        """A condition with the rows of the style, if it has one row for each row drawn."""
        if isinstance(cond, list):
            return [self._repeated(each, count) for each in cond]
        if torch.is_tensor(cond) and cond.ndim and len(cond) == count:
            return cond.repeat(self.parts, *[1] * (cond.ndim - 1))
        return cond

    def _controlled(self, control: dict, count: int) -> dict:
        """What ControlNets add: nothing to the rows of the style, for it tells of the picture drawn."""

        def padded(added: Tensor | None) -> Tensor | None:
            if added is None:
                return None
            added = added.expand(count, *added.shape[1:])
            return torch.cat([added, added.new_zeros(count * (self.parts - 1), *added.shape[1:])])

        return {name: [padded(each) for each in added] for name, added in control.items()}
