"""Style Transfer with a denoiser: one of our own, or a MODEL of the host's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import wires
from .conditions import check_prompts, conditioning_in, with_empty_prompt
from .draw_net import HostAutoencoder
from .host import Style, current
from .model import ModelDenoiser
from .resize import cover

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.denoising.denoiser import Denoiser

STATISTICS, ATTENTION = "statistics", "attention"
MULTIPLE = 64  # pixels: what the sides of every MODEL's pictures can be


def own_options(denoiser: Denoiser, positive: Any, vae: Any, size: Sequence[int]) -> dict[str, Any]:
    """What `transfer` is to know of a denoiser of ours, brought to where it runs, and its prompt.

    Raises ValueError for a toy, for a prompt that it does not understand, and for several at once.
    """
    from ..models.denoising.toy import Toy

    if isinstance(denoiser, Toy):
        raise ValueError("a toy draws points, and style is of pictures: wire a denoiser of Load Denoiser or From Model")
    if vae is not None and denoiser.latents is not None:
        denoiser = denoiser.with_autoencoder(HostAutoencoder(vae))
    if "tokens" in denoiser.conditions:
        check_prompts(positive, None, False)
    downscale = denoiser.latents.downscale if denoiser.latents else 1
    latent = [side // downscale for side in size]
    conds, _ = conditioning_in(positive, denoiser, latent)
    if len(conds) > 1:
        raise ValueError("style transfer follows one prompt: wire a single one into positive, not several combined")
    denoiser = with_empty_prompt(denoiser, latent)
    own = [] if denoiser.autoencoder is None or vae is not None else [denoiser.autoencoder]
    current().load(denoiser, *own)
    return {"denoiser": denoiser, "cond": conds[0]}


def transfer_with_model(
    denoiser: ModelDenoiser,
    content: Tensor,
    styles: Sequence[Tensor],
    weights: Sequence[float],
    where: Tensor | None,
    *,
    method: str,
    strength: float,
    structure: float,
    steps: int,
    seed: int,
    positive: Any,
    vae: Any,
    observe: Callable[[int, int, Tensor | None], None],
) -> Tensor:
    """Pictures [B, H, W, 3 or 4] drawn again by a MODEL from their noised latents, in the styles: content's shape.

    With "statistics" x0 is pulled to the styles' means and spreads; with "attention" the MODEL also looks at them.
    Raises ValueError for another method, and without prompt or VAE.
    """
    import torch
    from torch.nn.functional import interpolate, pad

    from ..models import run
    from ..models import solver as solvers
    from ..models.sampling.noise import Noise
    from ..models.style.regions import regions
    from ..models.style.statistics import pulled
    from ..models.style.with_denoiser import STEPS, levels_of

    if method not in (STATISTICS, ATTENTION):
        raise ValueError(f"{method} needs a denoiser of Load Denoiser: with a MODEL choose {STATISTICS} or {ATTENTION}")
    if positive is None:
        raise ValueError("a MODEL needs a prompt: wire a CLIPTextEncode of what the content shows into positive")
    denoiser = denoiser if vae is None else replace(denoiser, vae=vae)
    if denoiser.vae is None:
        raise ValueError("style transfer with a MODEL needs a vae: wire one here, or into From Model")
    if strength == 0:
        return content.clone()
    models, model, batch = current().models, denoiser.model, len(content)
    height, width = content.shape[1:3]

    def latent_of(rgb: Tensor) -> Tensor:
        return models.encode(denoiser.vae, rgb.movedim(1, -1)).cpu()

    rgb = pad(content[..., :3].movedim(-1, 1), [0, -width % MULTIPLE, 0, -height % MULTIPLE], "replicate")
    looks = [cover(style[..., :3].movedim(-1, 1), tuple(rgb.shape[2:]), enlarge="bicubic") for style in styles]
    latent, *of_styles = (latent_of(each.clamp(0, 1)) for each in (rgb, *looks))
    if method == ATTENTION:
        if any(len(style) > 1 for style in styles):
            raise ValueError("with a MODEL attention takes one picture for each style: for more wire style_2, or loop")
        share = [weight / sum(weights) for weight in weights]
        first = [look.clamp(0, 1) for look in looks]
        model = models.styled(model, denoiser.vae, Style(first, share, strength, False, 0.0, 1.0, seed))
    sigmas = levels_of(denoiser, STATISTICS, steps or STEPS[STATISTICS], strength, structure)
    plan = solvers.plan("dpmpp_2m", sigmas, denoiser.space)

    def walk(D: Callable, x: Tensor) -> Tensor:
        known, *theirs = (models.from_wire(denoiser.model, each.to(x)) for each in (latent, *of_styles))
        acting = regions(known, weights, [where] * len(styles), strength)
        noise, scale = Noise(seed, range(batch), x.shape[1:], x.device, x.dtype), denoiser.facts.noise_scale
        D = pulled(D, known, theirs, denoiser.space, acting, structure=structure)
        return run(
            plan,
            D,
            x,
            lambda number: noise(number) * scale,
            observe=lambda done, total, x0: observe(
                done, total, None if x0 is None else denoiser.glimpse(x0[:1])[0][0]
            ),
            pictures=True,
        )

    samples = models.draw(
        model,
        walk,
        positive=positive,
        negative=positive,
        guidance=denoiser.guidance,
        scale=1.0,
        sigmas=wires.sigmas_out(sigmas),
        seed=seed,
        noise=Noise(seed, range(batch), tuple(latent.shape[1:]))(0),
        latent=latent,
        mask=None,
        pairs=False,
    )
    made = denoiser.finished(samples)[0][:, :height, :width].clamp(0, 1)
    if where is not None:
        share = interpolate(where[:, None], (height, width), mode="area").movedim(1, -1)
        made = torch.lerp(content[..., :3], made, share)
    return torch.cat([made, content[..., 3:]], -1)
