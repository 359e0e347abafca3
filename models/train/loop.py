"""Training: steps of Adam on one net, or on several in turn, and averages of the weights that are kept."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .chance import Chance, Draw
from .ranks import ALONE, Ranks
from .settings import Settings, kept_at, power

MOMENTS = ("exp_avg", "exp_avg_sq")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
NUMBERS = {"step": int, "calm": float, "rolled_back": int}
LOOK_BACK = 50  # steps
PATIENCE = 8


class StateError(ValueError):
    """A saved state of training that cannot be taken up."""


class Diverged(ArithmeticError):
    """The loss is no number any more, however small the steps."""


class Loop:
    """A training under way.

    `draw(chance)` gives pictures and the rows of their words. `players` are what is minimised, in turn at each step:
    modules whose `player(x0, rows, chance)` is a mean loss and whose parameters move.
    `kept` is the net that the training is for, part of one of them; of its weights there are `averages`.

    A step of the same number and seed draws the same in any process, so a training taken up from a saved state goes on
    as if never left. A loss that is no number, or infinite, takes the training back to where it last was sound, up to
    `LOOK_BACK` steps, and halves the rate from there on. Master weights are float32, `precision` is that of autocast.
    """

    def __init__(
        self,
        players: Mapping[str, nn.Module],
        kept: nn.Module,
        draw: Draw,
        settings: Settings,
        *,
        precision: str = "bfloat16",
        ranks: Ranks = ALONE,
    ):
        self.players = {name: player.train().to(memory_format=torch.channels_last) for name, player in players.items()}
        self.kept, self.draw, self.settings, self.ranks = kept, draw, settings, ranks
        self.device = next(kept.parameters()).device
        self.averages = [copy.deepcopy(kept).eval().requires_grad_(False) for _ in settings.lengths]
        self.gammas = [power(length) for length in settings.lengths]
        self.forwards = {name: ranks.shared(player) for name, player in self.players.items()}
        self.moving = {
            name: {key: value for key, value in player.named_parameters() if value.requires_grad}
            for name, player in self.players.items()
        }
        self.optimisers = {
            name: torch.optim.AdamW(list(moving.values()), settings.rate, settings.betas, weight_decay=0.0, fused=True)
            for name, moving in self.moving.items()
        }
        self.autocast = PRECISIONS[precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast is torch.float16)
        self.step, self.calm, self.rolled_back = 0, 1.0, 0

    def steps(self) -> Iterator[Tensor]:
        """Takes the steps that are left; gives the mean losses of each [players], without waiting for it on a GPU.

        `step` counts the steps taken; it goes back where the loss was no number. Raises Diverged if that goes on.
        """
        sound, losses, backwards = self.state(), [], 0
        while self.step < self.settings.steps:
            losses.append(self._take_step())
            yield losses[-1]
            if self.step % LOOK_BACK and self.step < self.settings.steps:
                continue
            if bool(self.ranks.mean(torch.stack(losses).mean()).isfinite()):
                sound, backwards = self.state(), 0
            else:
                backwards += 1
                if backwards > PATIENCE:
                    raise Diverged(
                        f"the loss is no number at step {self.step}, even at {self.calm:.2g} of the rate: "
                        "lower the rate, or look for pictures that are broken"
                    )
                calm = self.calm / 2
                self.restore(sound)
                self.calm, self.rolled_back = calm, self.rolled_back + 1
            losses = []

    def _take_step(self) -> Tensor:
        settings, step, means = self.settings, self.step, []
        chance = Chance(settings.seed, step, settings.batch, self.ranks.rows(settings.batch), self.device)
        x0, rows = self.draw(chance)
        for name, forward in self.forwards.items():
            optimiser = self.optimisers[name]
            for group in optimiser.param_groups:
                group["lr"] = settings.rate_at(step) * self.calm
            optimiser.zero_grad()
            with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                mean = forward(x0, rows, chance)
            self.scaler.scale(mean).backward()
            self.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(self.moving[name].values(), settings.clip)
            self.scaler.step(optimiser)
            means.append(mean.detach().float())
        self.scaler.update()
        with torch.no_grad():
            for average, gamma in zip(self.averages, self.gammas, strict=True):
                torch._foreach_lerp_(list(average.parameters()), list(self.kept.parameters()), 1 - kept_at(step, gamma))
        self.step += 1
        return torch.stack(means)

    @torch.no_grad()
    def judge(self, draw: Draw, batches: int) -> list[float]:
        """The first player's mean loss on other pictures with each of the averages as the net that is kept."""
        player = next(iter(self.players.values()))
        (prefix,) = (key for key, module in player.named_modules() if module is self.kept)
        player.eval()
        losses = []
        for average in self.averages:
            weights = {f"{prefix}.{key}" if prefix else key: value for key, value in average.state_dict().items()}
            total = 0.0
            for batch in range(batches):
                chance = Chance(self.settings.seed, -1 - batch, self.settings.batch, device=self.device)
                with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                    total += torch.func.functional_call(player, weights, (*draw(chance), chance)).item()
            losses.append(total / batches)
        player.train()
        return losses

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that has changed since it was made: tensors, copied, and numbers."""
        tensors = {}
        for name, player in self.players.items():
            tensors |= {f"net.{name}.{key}": value for key, value in player.state_dict().items()}
            for key, parameter in self.moving[name].items():
                known = self.optimisers[name].state.get(parameter, {})
                tensors |= {f"{moment}.{name}.{key}": known[moment] for moment in MOMENTS if known}
        for index, average in enumerate(self.averages):
            tensors |= {f"average.{index}.{key}": value for key, value in average.state_dict().items()}
        numbers = {"step": self.step, "calm": self.calm, "rolled_back": self.rolled_back}
        return {key: value.detach().clone() for key, value in tensors.items()}, numbers | {
            "scaler": self.scaler.state_dict()
        }

    def restore(self, state: tuple[dict[str, Tensor], dict]) -> None:
        """Goes back, or on, to a `state`. Raises ValueError if it is another net's; then nothing changed."""
        tensors, numbers = state
        step, calm, rolled_back = (type_(numbers[key]) for key, type_ in NUMBERS.items())
        if step < 0 or not 0 < calm <= 1:
            raise ValueError(f"it has taken {step} steps, at {calm} of the rate")
        own = self.state()[0]
        if step and not self.step:
            for name, moving in self.moving.items():
                own |= {f"{moment}.{name}.{key}": value for moment in MOMENTS for key, value in moving.items()}
        elif not step:
            own = {key: value for key, value in own.items() if not key.startswith(MOMENTS)}
        wrong = sorted(set(own) ^ set(tensors)) or [key for key in own if own[key].shape != tensors[key].shape]
        if wrong:
            raise ValueError(f"it is of another net: {wrong[0]} does not fit, nor {len(wrong) - 1} others")
        for name, player in self.players.items():
            player.load_state_dict(_under(tensors, f"net.{name}."))
            self.optimisers[name].state.clear()
            for key, parameter in self.moving[name].items() if step else ():
                # The fused step takes for granted that moments lie in memory as their parameter does.
                moments = {m: torch.zeros_like(parameter).copy_(tensors[f"{m}.{name}.{key}"]) for m in MOMENTS}
                taken = torch.tensor(float(step), device=parameter.device)
                self.optimisers[name].state[parameter] = {"step": taken, **moments}
        for index, average in enumerate(self.averages):
            average.load_state_dict(_under(tensors, f"average.{index}."))
        if self.scaler.is_enabled() and numbers.get("scaler"):
            self.scaler.load_state_dict(numbers["scaler"])
        self.step, self.calm, self.rolled_back = step, calm, rolled_back

    def save(self, path: str | os.PathLike, asked: dict | None = None) -> None:
        """Writes the whole state, and what was `asked` for; a file already there stays whole until the new one is."""
        tensors, numbers = self.state()
        path = Path(path)
        part = path.with_name(path.name + ".part")
        whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, part, metadata={"training": json.dumps(numbers), "asked": json.dumps(asked or {})})
        os.replace(part, path)

    def load(self, path: str | os.PathLike) -> None:
        """Takes up a saved state. Raises StateError if it is unreadable or of another net; then nothing changed."""
        try:
            with safe_open(path, "pt", device=str(self.device)) as file:
                numbers = json.loads((file.metadata() or {})["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.restore((tensors, numbers))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"{path} is not a state of this training: {error}") from None


def asked_of(path: str | os.PathLike) -> dict:
    """What the training whose state was saved was asked for. Raises StateError."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["asked"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StateError(f"{path} is not a state of training: {error}") from None


def _under(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
