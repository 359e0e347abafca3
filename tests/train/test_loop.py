"""Training a denoiser, on a net and pictures small enough to check every number."""

import json
import os
from itertools import islice

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import kstest

from varifold.models.denoising.precondition import edm, loss
from varifold.models.nets.unet import UNet, UNetConfig
from varifold.models.train import denoising, loop
from varifold.models.train.chance import sharing
from varifold.models.train.denoising import Denoising, log_normal
from varifold.models.train.loop import Loop, StateError
from varifold.models.train.settings import Settings, kept_at, power

BRIGHT, DARK = 1, 2  # words
SMALL = {"width": 16, "multipliers": (1,), "attention_levels": (), "patch": 2, "embedding": 32, "vocabulary": 3}


def draw(count: int, generator: torch.Generator, side: int = 8):
    rows = torch.randint(BRIGHT, DARK + 1, (count, 1), generator=generator)
    return (1.2 - 0.8 * rows)[:, :, None, None].expand(-1, 4, side, side), rows


def make(images: int = 48, pictures=draw, config=None, levels=None, **settings) -> Loop:
    torch.manual_seed(0)
    net = UNet(UNetConfig(**SMALL | (config or {})))
    # A new net says zero and passes nothing back, which would hide most of it.
    for name, parameter in net.named_parameters():
        if not parameter.any() and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    learning = Denoising(net, edm(0.5), levels)
    return Loop(
        {"it": learning}, net, sharing(pictures), Settings(images=images, **{"batch": 8, "warmup": 1} | settings)
    )


def take(training: Loop, count: int) -> list[float]:
    return [mean.item() for mean in islice(training.steps(), count)]


def state(training: Loop) -> dict:
    tensors, numbers = training.state()
    return tensors | {name: value for name, value in numbers.items() if name != "scaler"}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(*map(torch.as_tensor, (one[k], other[k]))) for k in one)


@pytest.fixture
def heard(monkeypatch) -> list:
    calls = []
    monkeypatch.setattr(denoising, "loss", lambda p, net, *given: calls.append(given) or loss(p, net, *given))
    return calls


def test_the_loss_falls_and_the_average_draws_what_the_word_says():
    training = make(images=60 * 16, batch=16, rate=5e-3, warmup=5)
    losses = take(training, 60)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    sigma, c = torch.tensor(20.0), edm(0.5).scalars(torch.tensor(20.0))
    x = sigma * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for word, value in (BRIGHT, 0.4), (DARK, -0.4):
        cond = {"words": training.averages[0].word_embeddings([word])}
        emb = training.averages[0].embed(c.noise.flatten(), cond)
        x0 = c.skip * x + c.out * training.averages[0](c.input * x, emb)
        assert x0.mean().item() == pytest.approx(value, abs=0.15)


def test_the_loss_of_a_net_that_says_zero_is_the_mean_square_of_its_target(heard):
    training = make()
    torch.nn.init.zeros_(training.kept.out.weight)
    (found,) = take(training, 1)
    x0, noise, sigma, _ = (t.double() if torch.is_tensor(t) else t for t in heard[0])
    s = sigma[:, None, None, None]
    # Karras et al. 2022, table 1, for data of spread 1/2.
    skip, out = 0.25 / (s**2 + 0.25), s / 2 / (s**2 + 0.25).sqrt()
    assert found == pytest.approx((((x0 - skip * (x0 + s * noise)) / out) ** 2).mean().item(), rel=1e-5)


def test_the_loss_is_the_preconditions_but_for_rounding(heard):
    training = make()
    untrained = UNet(training.kept.config)
    untrained.load_state_dict(training.kept.state_dict())
    (found,) = take(training, 1)
    x0, noise, sigma, _ = heard[0]
    generator = torch.Generator().manual_seed(0)
    expected_x0, rows = draw(8, generator)
    assert torch.equal(x0, expected_x0)
    with torch.no_grad():
        exact = loss(edm(0.5), untrained, x0, noise, sigma, {"words": untrained.words(rows)}).mean()
        wordless = loss(edm(0.5), untrained, x0, noise, sigma, None).mean()
    assert found == pytest.approx(exact.item(), rel=3e-3)
    assert abs(wordless - exact) > 0.01 * exact


def test_noises_are_normal_and_their_levels_log_normal(heard):
    training = make(images=6000, batch=3000, pictures=lambda n, g: draw(n, g, side=2), levels=log_normal(-0.4, 1.1))
    take(training, 2)
    for _, noise, sigma, _ in heard:
        assert kstest(sigma.log().numpy(), "norm", (-0.4, 1.1)).pvalue > 1e-3
        assert kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3


def test_every_step_draws_something_else_and_the_same_in_any_process(heard):
    for _ in range(2):
        take(make(), 2)
    for first, second, again in zip(heard[0][1:3], heard[1][1:3], heard[2][1:3], strict=True):
        assert torch.equal(first, again) and not torch.equal(first, second)


def test_another_seed_draws_something_else(heard):
    for seed in (0, 1):
        take(make(seed=seed), 2)
    (_, noise, sigma, _), _, (_, other_noise, other_sigma, _), _ = heard
    assert not torch.equal(noise, other_noise) and not torch.equal(sigma, other_sigma)


def test_the_rate_warms_up_stays_and_ends_at_zero():
    settings = Settings(images=100 * 64, rate=2.0, warmup=10, decay=0.25)
    assert [settings.rate_at(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert {settings.rate_at(step) for step in range(9, 76)} == {2.0}
    assert [settings.rate_at(step) for step in (80, 99, 100, 101)] == pytest.approx([1.6, 0.08, 0, 0])


def test_a_run_shorter_than_its_warm_up_never_reaches_the_full_rate():
    settings = Settings(images=4 * 64, rate=1.0, warmup=8, decay=0.5)
    assert [settings.rate_at(step) for step in range(5)] == pytest.approx([1 / 8, 2 / 8, 3 / 8, 4 / 8, 0])


def test_no_warm_up_and_no_decay_are_a_constant_rate():
    settings = Settings(images=640, rate=1.0, warmup=0, decay=0.0)
    assert {settings.rate_at(step) for step in range(settings.steps)} == {1.0}


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.1, 6.94)])
def test_an_average_weighs_what_was_learned_by_a_power_of_the_time(length, gamma):
    # Karras et al. 2024, section 3.1, give these two; a step of time t weighs t^γ.
    assert power(length) == pytest.approx(gamma, abs=0.005)
    kept = [kept_at(step, power(length)) for step in range(4000)]
    weights, left = [], 1.0
    for share in reversed(kept):
        weights.insert(0, left * (1 - share))
        left *= share
    assert kept[0] == 0 and sum(weights) == pytest.approx(1)
    times = [(step + 1) / 4000 for step in range(4000)]
    mean = sum(w * t for w, t in zip(weights, times, strict=True))
    spread = sum(w * (t - mean) ** 2 for w, t in zip(weights, times, strict=True)) ** 0.5
    assert spread == pytest.approx(length, rel=0.01)


def test_the_first_step_moves_every_weight_by_the_rate():
    # So does Adam, whatever the size of the gradient (Kingma & Ba 2015, section 2.1).
    training = make(warmup=4, rate=4e-3)
    before = training.kept.out.weight.detach().clone()
    take(training, 1)
    moved = (training.kept.out.weight - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-2, atol=0)


def test_a_word_never_said_keeps_its_meaning_and_no_word_means_nothing():
    training = make(pictures=lambda n, g: (draw(n, g)[0], torch.tensor([[BRIGHT, 0]]).expand(n, 2)))
    before = training.kept.words.weight.detach().clone()
    take(training, 3)
    after = training.kept.words.weight
    assert torch.equal(after[DARK], before[DARK]) and not after[0].any()
    assert not torch.equal(after[BRIGHT], before[BRIGHT])


def test_an_average_is_that_of_the_weights_weighted_by_age():
    training = make()
    moving, weights = training.moving["it"].values(), []
    for _ in training.steps():
        weights.append([p.detach().double().clone() for p in moving])
    for average, gamma in zip(training.averages, training.gammas, strict=True):
        kept = [kept_at(step, gamma) for step in range(6)]
        shares = [(1 - keep) * torch.tensor(kept[k + 1 :]).prod() for k, keep in enumerate(kept)]
        for found, *history in zip(average.parameters(), *weights, strict=True):
            expected = sum(share * weight for share, weight in zip(shares, history, strict=True))
            torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_average_remembers_no_history():
    # A graph of all steps so far would grow until memory is full.
    training = make()
    take(training, 2)
    assert not any(average.requires_grad for average in training.averages[0].parameters())


def test_steps_stop_when_all_pictures_were_seen():
    training = make(images=17)
    losses = list(training.steps())
    assert len(losses) == training.settings.steps == training.step == 3
    assert not any(mean.requires_grad for mean in losses)
    assert list(training.steps()) == []


def test_a_training_taken_up_goes_on_as_if_never_left(tmp_path):
    straight = make()
    losses = take(straight, 6)
    left = make()
    first = take(left, 3)
    left.save(tmp_path / "state")
    taken_up = make()
    taken_up.load(tmp_path / "state")
    assert same(state(taken_up), state(left))
    assert first + take(taken_up, 3) == losses
    assert same(state(taken_up), state(straight))


def test_saving_changes_nothing(tmp_path):
    training = make()
    take(training, 2)
    before = state(training)
    training.save(tmp_path / "state")
    assert same(before, state(training))


def test_a_training_not_begun_can_be_saved_and_taken_up(tmp_path):
    training = make()
    training.save(tmp_path / "state")
    other = make()
    torch.nn.init.ones_(other.kept.out.weight)
    other.load(tmp_path / "state")
    assert take(other, 6) == take(training, 6)


def test_a_state_of_a_longer_training_leaves_nothing_to_do(tmp_path):
    longer = make()
    take(longer, 4)
    longer.save(tmp_path / "state")
    shorter = make(images=16)
    shorter.load(tmp_path / "state")
    assert list(shorter.steps()) == []


def test_saving_leaves_one_file_and_replaces_the_old_one(tmp_path):
    training = make()
    for step in (1, 2):
        take(training, 1)
        training.save(tmp_path / "state")
        with safe_open(tmp_path / "state", "pt") as file:
            assert json.loads(file.metadata()["training"])["step"] == step
    assert os.listdir(tmp_path) == ["state"]


def test_the_old_file_stays_whole_if_saving_fails(tmp_path, monkeypatch):
    training = make()
    training.save(tmp_path / "state")
    before = (tmp_path / "state").read_bytes()

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(loop, "save_file", full_disk)
    take(training, 1)
    with pytest.raises(OSError, match="No space"):
        training.save(tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == before


def rewritten(path, step="3", drop=(), add=None):
    metadata = None if step is None else {"training": f'{{"step": {step}, "calm": 1.0, "rolled_back": 0}}'}
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith(drop)} | (add or {})
    save_file(tensors, path, metadata=metadata)


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def another(path, **config):
    training = make(config=config)
    take(training, 3)
    training.save(path)


SPOILT = {
    "missing": (lambda path: path.unlink(), "not a state"),
    "a folder": (lambda path: path.unlink() or path.mkdir(), "not a state"),
    "empty": (lambda path: path.write_bytes(b""), "not a state"),
    "text": (lambda path: path.write_text("three steps were taken, and all was well"), "not a state"),
    "cut in its header": (lambda path: cut(path, 0.001), "not a state"),
    "cut": (lambda path: cut(path, 0.9), "not a state"),
    "no step": (lambda path: rewritten(path, step=None), "not a state"),
    "step in words": (lambda path: rewritten(path, step='"three"'), "not a state"),
    "negative step": (lambda path: rewritten(path, step="-3"), "not a state"),
    "no moments": (lambda path: rewritten(path, drop=("exp_avg_sq",)), "another net: exp_avg_sq"),
    "half an average": (
        lambda path: rewritten(path, drop=("average.1.out",)),
        r"net: average\.1\.out\.bias .* 1 others",
    ),
    "moments of step 0": (lambda path: rewritten(path, step="0"), "another net: exp_avg"),
    "one tensor more": (lambda path: rewritten(path, add={"net.more": torch.ones(1)}), r"another net: net\.more"),
    "a tensor of no part": (lambda path: rewritten(path, add={"more": torch.ones(1)}), "another net: more"),
    "wider net": (lambda path: another(path, width=32), "another net"),
    "more words": (lambda path: another(path, vocabulary=4), r"another net: net\.it\.net\.words\.weight"),
    "deeper net": (lambda path: another(path, multipliers=(1, 1)), "another net"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changed(tmp_path, case):
    spoil, message = SPOILT[case]
    path = tmp_path / "state"
    another(path)
    spoil(path)
    training = make()
    take(training, 1)
    before = state(training)
    with pytest.raises(StateError, match=message) as caught:
        training.load(path)
    assert str(path) in str(caught.value)
    assert same(before, state(training))
