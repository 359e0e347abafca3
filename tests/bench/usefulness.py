"""Whether synthetic digits help: `python tests/bench/usefulness.py [--draws N] [--images N] [--sheet FILE]`.

scikit-learn's digits (1797 of 8 x 8 pixels): 597 to test on, 1200 real ones to train on. A small denoiser learns from a
tenth of these, 120, and draws digits of each class; 1x are 120 of them. Each draw takes other test and training digits,
another denoiser and another classifier. Printed are the measures of the drawn beside the 1080 real ones that the
denoiser never saw, and what classifiers score on the real test digits. Minutes, on one core.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from varifold.dataset.measures.balance import balance
from varifold.dataset.measures.features import features
from varifold.dataset.measures.memorisation import memorisation
from varifold.dataset.measures.report import compare
from varifold.dataset.measures.usefulness import MULTIPLES, SHARES, Labelled, usefulness
from varifold.models.denoising.denoiser import Denoiser
from varifold.models.denoising.precondition import edm
from varifold.models.denoising.vocabulary import Vocabulary
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.models.sampling import schedule
from varifold.models.sampling.sample import sample
from varifold.models.train.chance import sharing
from varifold.models.train.denoising import Denoising
from varifold.models.train.loop import Loop
from varifold.models.train.settings import Settings

WORDS = ("<null>", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN, SEEN = 1200, 120
SIGMA_DATA, SIGMA_MIN, SIGMA_MAX = 0.75, 0.01, 20.0
PROMPT_DROPOUT = 0.1
STEPS, GUIDANCE = 16, 1.0


def digits(draw: int) -> tuple[Labelled, Labelled]:
    """Real digits to train on, any first part of which has all classes alike, and others to test on."""
    loaded = load_digits()
    pictures = (loaded.images * 255 / 16).round().astype(np.uint8)[..., None]
    order = np.random.default_rng(draw).permutation(len(pictures))
    turn = np.zeros(len(order), int)  # how many of its class come before a digit
    for digit in range(10):
        own = loaded.target[order] == digit
        turn[own] = np.arange(own.sum())
    order = order[np.argsort(turn, kind="stable")]
    mixed = np.random.default_rng(draw).permutation(len(order) - TRAIN)
    train, test = order[:TRAIN], order[TRAIN:][mixed]
    return Labelled(pictures[train], loaded.target[train]), Labelled(pictures[test], loaded.target[test])


def trained(real: Labelled, images: int, seed: int) -> Denoiser:
    x0 = torch.from_numpy(real.pictures).movedim(-1, 1).float() / 127.5 - 1
    rows = torch.from_numpy(real.labels)[:, None] + 1

    def draw(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randint(len(x0), (count,), generator=generator)
        kept = torch.rand(count, 1, generator=generator) >= PROMPT_DROPOUT
        return x0[chosen], rows[chosen] * kept

    torch.manual_seed(seed)
    net = UNet(UNetConfig(in_channels=1, patch=2, width=64, multipliers=(1,), attention_levels=(), vocabulary=11))
    learning = Denoising(net, edm(SIGMA_DATA))
    training = Loop({"denoiser": learning}, net, sharing(draw), Settings(images=images, seed=seed))
    for _ in training.steps():
        pass
    known = Vocabulary(WORDS)
    about = {"shape": (1, 8, 8), "sigma_min": SIGMA_MIN, "sigma_max": SIGMA_MAX, "vocabulary": known}
    return Denoiser(training.averages[0], learning.precondition, **about)


def drawn(denoiser: Denoiser, count: int, seed: int) -> Labelled:
    sigmas = schedule.karras(STEPS, SIGMA_MIN, SIGMA_MAX)
    labels, x0 = np.arange(count) % 10, torch.empty(count, 1, 8, 8)
    for digit in range(10):
        indices = np.flatnonzero(labels == digit).tolist()
        options = {"batch": len(indices), "indices": indices, "seed": seed, "guidance": GUIDANCE}
        x0[labels == digit] = sample(denoiser, sigmas, cond=denoiser.prompt(WORDS[digit + 1]), **options)
    levels = ((x0 + 1) * 127.5).round().clamp(0, 255).byte()
    return Labelled(levels.movedim(1, -1).numpy(), labels)


def tell_measures(real: Labelled, synthetic: Labelled) -> None:
    seen, unseen, made = (features(each) for each in (*np.split(real.pictures, [SEEN]), synthetic.pictures))
    for figure in compare(unseen, made):
        told = f"{figure.value:8.4f} ± {figure.value_spread:.4f}   real {figure.floor:8.4f} ± {figure.floor_spread:.4f}"
        print(f"  {figure.name:16} {figure.missing or told}   of {figure.samples}")
    kept = memorisation(seen, unseen, made)
    print(
        f"  nearer to training than to held-out digits: {kept.closer:.1%}, of others {kept.low:.1%} to {kept.high:.1%}"
    )
    print(f"  as near as 1 % of held-out digits are: {kept.copies:.1%}")
    print(f"  labels in effect: {balance(map(str, synthetic.labels)).effective:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--images", type=int, default=30_000, help="digits that the denoiser sees in training")
    parser.add_argument("--steps", type=int, default=300, help="of each classifier")
    parser.add_argument("--sheet", help="a picture of drawn digits, and below of the nearest real ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scores: dict[tuple[float, float, bool], list[float]] = {}
    for draw in range(options.draws):
        start = time.perf_counter()
        real, test = digits(draw)
        denoiser = trained(real.first(SEEN), options.images, draw)
        synthetic = drawn(denoiser, round(SEEN * max(MULTIPLES)), draw)
        print(f"draw {draw}: trained and drawn in {time.perf_counter() - start:.0f} s", flush=True)
        tell_measures(real, synthetic)
        if options.sheet and draw == 0:
            save_sheet(options.sheet, real.first(SEEN), synthetic)
        for point in usefulness(real, synthetic, test, unit=SEEN, seeds=[draw], steps=options.steps):
            scores.setdefault((point.share, point.multiple, point.augmented), []).extend(point.accuracies)
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)
    for augmented in (False, True):
        print(f"\nreal test digits told right, %, {'with' if augmented else 'without'} augmentation")
        print("real  " + "".join(f"{multiple:>7g}x synthetic" for multiple in MULTIPLES))
        for share in SHARES:
            cells = [scores.get((share, multiple, augmented)) for multiple in MULTIPLES]
            told = [
                f"{100 * np.mean(cell):10.1f} ± {100 * np.std(cell):.1f} " if cell else f"{'–':>17}" for cell in cells
            ]
            print(f"{share:5.0%} " + "".join(f"{each:>18}" for each in told))


def save_sheet(path: str, seen: Labelled, synthetic: Labelled) -> None:
    rows = []
    for pictures in np.split(synthetic.pictures[:100], 5):
        distances = np.square(pictures[:, None].astype(float) - seen.pictures[None]).sum((2, 3, 4))
        for row in (pictures, seen.pictures[distances.argmin(1)]):
            rows.append(np.concatenate(list(np.pad(row[..., 0], ((0, 0), (1, 1), (1, 1)), constant_values=90)), 1))
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize((picture.width * 6, picture.height * 6), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
