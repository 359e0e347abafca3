"""Train Denoiser: a diffusion model of one's own pictures."""

from __future__ import annotations

from . import training
from .host import current

SIZES = ["tiny", "small", "medium", "large", "huge"]
PREDICTIONS = ["edm", "flow", "v", "eps"]
WEIGHTINGS = ["none", "learned", "min_snr"]
MEASURED = 512  # pictures, of which the spread is taken


class VarifoldTrainDenoiser:
    DESCRIPTION = (
        "Trains a diffusion model on your pictures, from scratch or from a denoiser that was trained before. "
        "It can be left at any time: run the graph again and it goes on."
    )
    SEARCH_ALIASES = ["train diffusion model", "fine-tune", "finetune", "transfer learning", "training", "learn"]
    CATEGORY = training.CATEGORY
    FUNCTION = "train"
    OUTPUT_NODE = True
    TRAINS = True
    RETURN_TYPES = ("VARIFOLD_DENOISER", *training.OUTPUTS)
    RETURN_NAMES = ("denoiser", *training.OUTPUT_NAMES)
    OUTPUT_TOOLTIPS = ("The denoiser, for Prompt, Noise Schedule and Sampler.", *training.OUTPUT_TOOLTIPS)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "pictures": training.PICTURES,
                "name": training.name_input("my_denoiser"),
                "size": (
                    SIZES,
                    {
                        "default": "small",
                        "tooltip": "Of the net. For pictures of 32 pixels these have 2, 5, 9, 20 and 35 million "
                        "parameters; a training needs about 24 bytes for each.",
                    },
                ),
                "prediction": (
                    PREDICTIONS,
                    {
                        "tooltip": "What the net says. edm: Karras' mix, the surest; flow: the way from picture to "
                        "noise; v and eps: of the variance-preserving process."
                    },
                ),
                "weighting": (
                    WEIGHTINGS,
                    {
                        "tooltip": "Of the noise levels in the loss. none: as the prediction has it; learned: by how "
                        "uncertain each level is; min_snr: clear levels count less."
                    },
                ),
                **training.run_inputs(100_000, 0.002),
            },
            "optional": {
                "denoiser": (
                    "VARIFOLD_DENOISER",
                    {
                        "tooltip": "What to begin with, as Load Denoiser gives it: words that both know keep their "
                        "meaning. Then size and prediction are its own."
                    },
                ),
                "frozen": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 0.9,
                        "step": 0.05,
                        "tooltip": "The share of blocks, from the first, that stay as they are in what it began with.",
                    },
                ),
            },
        }

    def train(
        self,
        pictures,
        name,
        size,
        prediction,
        weighting,
        images,
        batch,
        rate,
        precision,
        seed,
        denoiser=None,
        frozen=0.0,
    ):
        from ..models.checkpoint import load_denoiser
        from ..models.train.denoiser import DenoiserLearner, from_denoiser, from_scratch, new_spec

        folder, host = training.folder_of(name), current()
        about = training.about(name, pictures)
        spread = pictures.x0(range(min(MEASURED, len(pictures)))).std().item()
        spec = new_spec(prediction, pictures.shape, pictures.channels, max(0.05, spread), pictures.words, **about)
        with training.learning():
            if denoiser is None:
                net, spec = from_scratch(spec, size, seed)
            else:
                net, spec = from_denoiser(denoiser, spec, seed)
            learner = DenoiserLearner(
                net.float(),
                spec,
                weighting=weighting,
                frozen=0.0 if denoiser is None else frozen,
                pictures=pictures.identity,
                begun="" if denoiser is None else denoiser.identity or "",
            )
        run = training.Run(images, batch, rate, precision, seed)
        done = training.trained(learner, pictures, folder, run)
        result = load_denoiser(done.model)
        host.adopt(result)
        report, curve, samples = training.told(done)
        return {"ui": {"text": [report]}, "result": (result, report, curve, samples)}
