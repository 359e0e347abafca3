"""Prompt, and how the Sampler takes a CONDITIONING."""

import copy

import pytest
import torch

from varifold.models import load_denoiser


def test_known_words_become_one_embedding_each(prompt, embedded):
    ((words, extras),) = prompt("hero robe", "error")
    assert words.shape[:2] == (1, 2)
    assert torch.equal(words, embedded.prompt("hero robe")["words"])
    told = f"{embedded.vocabulary.hash}-{embedded.identity}"
    assert extras == {"varifold_vocabulary": told, "varifold_notes": []}


def test_words_of_other_weights_are_refused(prompt, embedded, draw):
    retrained = embedded.with_net(embedded.net, "another file")
    with pytest.raises(ValueError, match="not made for this denoiser"):
        draw(denoiser=retrained, positive=prompt("hero"))


@pytest.mark.parametrize(("unknown", "count", "note"), [("nearest", 3, "was read as"), ("skip", 2, "was left out")])
def test_unknown_words(unknown, count, note, prompt, draw):
    conditioning = prompt("hero robbe robe", unknown)
    ((words, extras),) = conditioning
    assert words.shape[1] == count
    assert len(extras["varifold_notes"]) == 1
    assert "'robbe'" in extras["varifold_notes"][0] and note in extras["varifold_notes"][0]
    report = draw(positive=conditioning, negative=prompt("xyzzy", "skip"))[-1]
    assert "'robbe'" in report and "'xyzzy'" in report


def test_an_unknown_word_can_be_an_error_that_suggests_others(prompt):
    with pytest.raises(ValueError, match=r"'robbe'.*robe"):
        prompt("hero robbe", "error")


@pytest.mark.parametrize("text", ["", "   \n", "?!., --- …"])
def test_no_words_say_nothing(text, prompt, draw):
    ((words, extras),) = prompt(text, "error")
    assert words.shape[1] == 0 and not extras["varifold_notes"]
    assert torch.allclose(draw(positive=prompt(text))[2]["samples"], draw()[2]["samples"], atol=1e-4)
    assert torch.isfinite(draw(positive=prompt(text), negative=prompt("hero"), guidance=2.0)[0]).all()


def test_300_words_work_with_a_warning(prompt, draw):
    conditioning = prompt("hero robe white " * 100)
    assert conditioning[0][0].shape[1] == 300
    image, *_, report = draw(positive=conditioning, guidance=1.5)
    assert torch.isfinite(image).all() and "300 words" in report


def test_notes_are_shown_on_the_node(embedded):
    from varifold.nodes import NODE_CLASS_MAPPINGS

    outputs = NODE_CLASS_MAPPINGS["VarifoldPrompt"]().encode(embedded, "robbe", "skip")
    assert outputs["ui"]["text"] == ["'robbe' is not known and was left out"]


def test_prompts_change_the_picture(draw, prompt):
    potion, wall = (draw(positive=prompt(text))[0] for text in ("potion red", "wall brick"))
    assert (potion - wall).abs().max() > 0.1


def test_two_combined_conditions_are_averaged(draw, prompt):
    one, other = prompt("hero"), prompt("potion")
    both = draw(positive=one + other)[2]["samples"]
    assert torch.allclose(draw(positive=one + one)[2]["samples"], draw(positive=one)[2]["samples"], atol=1e-3)
    assert not torch.allclose(both, draw(positive=one)[2]["samples"], atol=1e-2)


@pytest.fixture
def small(models_folder, save_small):
    save_small(models_folder / "small.safetensors")
    return load_denoiser(models_folder / "small.safetensors")


def test_another_denoisers_prompt_is_refused(draw, call, small):
    other = call("Prompt", denoiser=small, text="hero")[0]
    for socket in ("positive", "negative"):
        with pytest.raises(ValueError, match="not made for this denoiser"):
            draw(**{socket: other})


def test_a_text_encoders_conditioning_is_refused(draw):
    with pytest.raises(ValueError, match=r"Prompt \(Varifold\)"):
        draw(positive=[[torch.zeros(1, 77, 768), {"pooled_output": torch.zeros(1, 768)}]])


def test_what_a_prompt_cannot_carry_is_refused_by_name(draw, prompt):
    ((words, extras),) = prompt("hero")
    with pytest.raises(ValueError, match="area, strength"):
        draw(positive=[[words, {**extras, "area": (8, 8, 0, 0), "strength": 1.0, "hooks": None}]])


def test_a_denoiser_without_words_says_so(call, draw, embedded, prompt):

    wordless = copy.copy(embedded)
    wordless.vocabulary = None
    with pytest.raises(ValueError, match="no words"):
        call("Prompt", denoiser=wordless)
    with pytest.raises(ValueError, match="takes no prompt"):
        draw(denoiser=wordless, positive=prompt("hero"))
    assert draw(denoiser=wordless)[0].any()
