"""Training a denoiser: noise a picture, ask for it back (Karras et al. 2022, arXiv:2206.00364, section 5)."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..denoising.precondition import Precondition, loss

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Settings:
    """How to train. `images` is the number of pictures seen in all; ln σ ~ N(mean, spread).

    The learning rate rises over `warmup` steps, and falls linearly to zero over the last `decay` of the pictures.
    The weights that count are an exponential moving average with at most `ema` of the old ones a step.
    """

    images: int = 1_000_000
    batch: int = 64
    rate: float = 1.2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 150
    decay: float = 0.5
    clip: float = 1.0
    ema: float = 0.9995
    mean: float = -0.9
    spread: float = 1.3
    seed: int = 0

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def rate_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup), max(0.0, left))

    def ema_at(self, step: int) -> float:
        """The share of the average that step keeps; small at first, so that the start is soon forgotten."""
        return min(self.ema, (1 + step) / (10 + step))


class StateError(ValueError):
    """A saved state of training that cannot be taken up."""


class Training:
    """A training under way: the net, its moving average, the optimiser, and how many steps were taken.

    `draw(count, generator)` gives pictures [count, C, H, W] and the rows of their words [count, W]. Step k draws the
    same pictures, noises and σ's in any process, so a training taken up from a saved state goes on as if never left.
    On the CPU `compiled` needs a C++ compiler, costs a minute and makes a step about 1.5 times as fast.
    """

    def __init__(
        self, net: nn.Module, precondition: Precondition, draw: Draw, settings: Settings, *, compiled: bool = False
    ):
        self.net = net.train().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.precondition, self.draw, self.settings = precondition, draw, settings
        self.device = next(net.parameters()).device
        self.names, self.parameters = zip(*self.net.named_parameters(), strict=True)
        self.optimiser = torch.optim.AdamW(self.parameters, settings.rate, settings.betas, weight_decay=0.0, fused=True)
        self.forward = torch.compile(self.net) if compiled else self.net
        self.step = 0

    def steps(self) -> Iterator[Tensor]:
        """Takes the steps that are left, and gives the mean loss of each, without waiting for it on a GPU."""
        while self.step < self.settings.steps:
            yield self._take_step()

    def _take_step(self) -> Tensor:
        settings, step = self.settings, self.step
        # The generator takes 32 bits of its seed: step and seed have to share them.
        generator = torch.Generator().manual_seed((settings.seed * 1_000_003 + step) % 2**32)
        x0, rows = self.draw(settings.batch, generator)
        noise = torch.randn(x0.shape, generator=generator)
        sigma = (settings.mean + settings.spread * torch.randn(len(x0), generator=generator)).exp()
        x0, rows, noise, sigma = (t.to(self.device, non_blocking=True) for t in (x0, rows, noise, sigma))

        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate_at(step)
        with torch.autocast(self.device.type, torch.bfloat16):
            cond = {"words": self.net.words(rows)}
            mean = loss(self.precondition, _Forward(self.net, self.forward), x0, noise, sigma, cond).mean()
        mean.backward()
        nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.parameters), 1 - settings.ema_at(step))
        self.step += 1
        return mean.detach()

    def save(self, path: str | os.PathLike) -> None:
        """Writes the whole state; a file already there stays whole until the new one is."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            tensors |= {f"{m}.{name}": self.optimiser.state[parameter][m] for m in MOMENTS if self.step}
        path = Path(path)
        part = path.with_name(path.name + ".part")
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, part, metadata={"step": str(self.step)})
        os.replace(part, path)

    def load(self, path: str | os.PathLike) -> None:
        """Takes up a saved state. Raises StateError if it is unreadable or of another net; then nothing changed."""
        try:
            with safe_open(path, "pt") as file:
                step = int((file.metadata() or {})["step"])
                if step < 0:
                    raise ValueError(f"it has taken {step} steps")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StateError(f"{path} is not a state of training: {error}") from None
        own = {f"{part}.{name}": p for part in ("net", "average") for name, p in self.net.state_dict().items()}
        own |= {f"{m}.{name}": p for m in MOMENTS if step for name, p in self.net.named_parameters()}
        wrong = sorted(set(own) ^ set(tensors)) or [n for n in own if own[n].shape != tensors[n].shape]
        if wrong:
            raise StateError(f"{path} is of another net: {wrong[0]} does not fit, nor {len(wrong) - 1} others")
        parts = {part: {} for part in ("net", "average", *MOMENTS)}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.net.load_state_dict(parts["net"])
        self.average.load_state_dict(parts["average"])
        if step:
            for name, parameter in zip(self.names, self.parameters, strict=True):
                # The fused step takes for granted that moments lie in memory as their parameter does.
                moments = {m: torch.zeros_like(parameter).copy_(parts[m][name]) for m in MOMENTS}
                taken = torch.tensor(float(step), device=parameter.device)
                self.optimiser.state[parameter] = {"step": taken, **moments}
        self.step = step


class _Forward:
    """A net whose forward pass is compiled and whose embedding is not."""

    def __init__(self, net: nn.Module, forward: Callable):
        self.embed, self.context, self.forward = net.embed, net.context, forward

    def __call__(self, x: Tensor, emb: Tensor, context: list[Tensor]) -> Tensor:
        return self.forward(x, emb, context)
