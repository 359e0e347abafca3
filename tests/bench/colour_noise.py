"""How clean the embedded denoiser's sprites are, by solver: `python tests/bench/colour_noise.py`.

Colour noise is the distance of a pixel's colour to the most similar of its four neighbours, lightness left out, on
average over opaque pixels. Hand-made heroes have 0.044.
"""

import time

import torch

from varifold.models import load_denoiser, pixels, sample, schedule

RUNS = (
    ("dpmpp_2m", 24),
    ("heun", 12),
    ("ipndm", 24),
    ("dpmpp_2m_sde", 24),
    ("dpmpp_sde", 12),
    ("euler_ancestral", 16),
    ("euler_ancestral", 24),
    ("ddpm", 40),
)


def colour_noise(rgb: torch.Tensor, alpha: torch.Tensor) -> float:
    """rgb [B, H, W, 3] in 0..1, alpha [B, H, W] of 0 and 1."""
    distances = []
    for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        difference = rgb - rgb.roll(shift, (1, 2))
        chroma = (difference - difference.mean(-1, keepdim=True)).norm(dim=-1)
        distances.append(chroma.masked_fill(alpha * alpha.roll(shift, (1, 2)) == 0, torch.inf))
    nearest = torch.stack(distances).amin(0)
    return nearest[nearest.isfinite() & (alpha > 0)].mean().item()


def main() -> None:
    denoiser = load_denoiser()
    for solver, steps in RUNS:
        sigmas = schedule.karras(steps, denoiser.sigma_min, denoiser.sigma_max)
        began = time.perf_counter()
        x0 = sample(denoiser, sigmas, solver=solver, seed=1, batch=32, cond=denoiser.prompt("hero robe"), guidance=1.4)
        noise = colour_noise(*pixels.decode(x0, "rgba"))
        print(
            f"{solver:16} {steps:3} steps  colour noise {noise:.4f}  {time.perf_counter() - began:5.1f} s", flush=True
        )


if __name__ == "__main__":
    main()
