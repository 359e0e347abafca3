"""Noise: a stream for every picture."""

import pytest
import torch

from varifold.models.sampling.noise import Noise


@pytest.fixture
def noise(call):
    return lambda seed=7: call("Noise", seed=seed)[0]


def empty(batch=4, shape=(4, 8, 6), **more):
    return {"samples": torch.zeros(batch, *shape), **more}


def test_it_is_the_noise_of_the_streams(noise):
    made = noise().generate_noise(empty())
    assert made.dtype == torch.float32 and made.device.type == "cpu"
    assert torch.equal(made, Noise(7, range(4), (4, 8, 6))(0))
    assert noise().seed == 7


def test_picture_3_of_4_is_the_same_alone(noise):
    batch = noise().generate_noise(empty())
    alone = noise().generate_noise(empty(1, batch_index=[2]))
    assert torch.equal(alone[0], batch[2])


def test_repeated_numbers_repeat_the_noise(noise):
    made = noise().generate_noise(empty(batch_index=[1, 1, 0, 5]))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_other_seeds_are_other_noise(noise):
    assert not torch.equal(noise(1).generate_noise(empty()), noise(2).generate_noise(empty()))


def test_latents_of_videos(noise):
    assert noise().generate_noise(empty(2, (16, 3, 4, 4))).shape == (2, 16, 3, 4, 4)


def test_a_batch_index_of_another_length_is_refused(noise):
    with pytest.raises(ValueError, match="4 pictures and 2 numbers"):
        noise().generate_noise(empty(batch_index=[0, 1]))


def test_nested_latents_are_refused(noise):
    class Nested:
        is_nested = True

    with pytest.raises(ValueError, match="nested"):
        noise().generate_noise({"samples": Nested()})


def test_our_sampler_draws_from_it(noise, draw):
    with_noise, alone = draw(noise=noise(5), seed=0), draw(seed=5)
    assert torch.equal(with_noise[2]["samples"], alone[2]["samples"])
