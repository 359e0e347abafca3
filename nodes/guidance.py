"""Guidance: how a denoiser is drawn to the prompt."""

from __future__ import annotations

from .model import ModelDenoiser

# The knobs that make a difference to each method, by their names in the methods.
KNOBS: dict[str, dict[str, str]] = {
    "cfg": {},
    "rescale": {"rescale": "phi"},
    "apg": {"eta": "eta", "norm_threshold": "norm_threshold", "momentum": "momentum"},
    "cfg_zero_star": {"strength": "strength", "zero_init": "zero_init"},
    "pag": {"strength": "strength"},
    "perp_neg": {"strength": "strength"},
}


class VarifoldGuidance:
    DESCRIPTION = "Chooses how a denoiser is guided towards the prompt; how strongly is Sampler's guidance."
    SEARCH_ALIASES = [
        *("cfg", "classifier-free guidance", "rescale cfg", "guidance interval", "limited interval", "apg", "cfg zero"),
        *("autoguidance", "perturbed attention guidance", "pag", "perp-neg"),
    ]
    CATEGORY = "Varifold"
    FUNCTION = "guide"
    RETURN_TYPES = ("VARIFOLD_DENOISER",)
    RETURN_NAMES = ("denoiser",)
    OUTPUT_TOOLTIPS = ("The same denoiser, guided this way.",)

    @classmethod
    def INPUT_TYPES(cls):
        sigma = {"min": 0.0, "max": 100000.0, "step": 0.01, "round": 0.0001}
        return {
            "required": {
                "denoiser": ("VARIFOLD_DENOISER", {"tooltip": "The denoiser to guide."}),
                "method": (
                    list(KNOBS),
                    {
                        "tooltip": "cfg: plain. rescale: cfg without its too strong contrast, by the share below. "
                        "apg: cfg that burns out less. cfg_zero_star: cfg for flow models. pag: away from what the net "
                        "draws without attention. perp_neg: a negative that does not fight the positive."
                    },
                ),
                "rescale": (
                    "FLOAT",
                    {
                        "default": 0.7,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "For rescale: 0 is plain cfg, 1 restores the contrast of the unguided picture.",
                    },
                ),
                "from_sigma": (
                    "FLOAT",
                    {"default": 100000.0, "tooltip": "Guide from this noise level down; above, not at all.", **sigma},
                ),
                "to_sigma": (
                    "FLOAT",
                    {"default": 0.0, "tooltip": "Guide down to this noise level; below, not at all, faster.", **sigma},
                ),
            },
            "optional": {
                "guide": (
                    "VARIFOLD_DENOISER",
                    {"tooltip": "A weaker denoiser to steer away from, in place of the negative (autoguidance)."},
                ),
                "empty": (
                    "CONDITIONING",
                    {
                        "tooltip": "For perp_neg with a denoiser that draws by CLIPTextEncode: the same of an empty "
                        "text."
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 20.0,
                        "step": 0.05,
                        "tooltip": "For cfg_zero_star, pag and perp_neg: how much of what they add. 0: plain cfg.",
                    },
                ),
                "eta": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": -10.0,
                        "max": 10.0,
                        "step": 0.05,
                        "tooltip": "For apg: how much of the guidance along the picture stays, which is what burns it "
                        "out. 1: all, as cfg.",
                    },
                ),
                "norm_threshold": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 10000.0,
                        "step": 0.5,
                        "tooltip": "For apg: the longest that the guidance may be in a step. 0: any length, as cfg.",
                    },
                ),
                "momentum": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": -0.95,
                        "max": 0.95,
                        "step": 0.05,
                        "tooltip": "For apg: below 0, less of what the steps before did already. 0: none, as cfg.",
                    },
                ),
                "zero_init": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 1000,
                        "tooltip": "For cfg_zero_star with flow models: so many first noise levels change nothing.",
                    },
                ),
            },
        }

    def guide(
        self,
        denoiser,
        method,
        rescale,
        from_sigma,
        to_sigma,
        guide=None,
        empty=None,
        strength=1.0,
        eta=0.0,
        norm_threshold=0.0,
        momentum=0.0,
        zero_init=0,
    ):
        from ..models import Guidance

        values = {
            "rescale": rescale,
            "strength": strength,
            "eta": eta,
            "norm_threshold": norm_threshold,
            "momentum": momentum,
            "zero_init": zero_init,
        }
        knobs = tuple((name, values[knob]) for knob, name in KNOBS[method].items())
        guidance = Guidance(method, knobs, low=to_sigma, high=from_sigma, guide=guide, empty=empty)
        _check_fit(denoiser, guidance)
        return (denoiser.with_guidance(guidance),)


def _check_fit(denoiser, guidance) -> None:
    """Raise ValueError for a method that cannot guide this denoiser."""
    of_host = isinstance(denoiser, ModelDenoiser)
    if dict(guidance.knobs).get("zero_init") and denoiser.space.name != "flow":
        raise ValueError("zero_init is for flow models, and this is none: set it to 0")
    if guidance.guide is not None and (of_host or isinstance(guidance.guide, ModelDenoiser)):
        raise ValueError("a MODEL can neither be a guide nor have one: wire two of Varifold's own denoisers")
    if guidance.other == "perturbed" and not of_host:
        if not hasattr(denoiser, "without_attention"):
            raise ValueError("pag needs a net that can leave out attention in its middle, and this one cannot")
        denoiser.without_attention(None)
    by_text = of_host or "tokens" in denoiser.conditions
    if guidance.other == "empty" and by_text != (guidance.empty is not None):
        raise ValueError(
            "perp_neg with this denoiser needs empty: wire CLIPTextEncode of an empty text"
            if by_text
            else "empty is for MODELs and others that draw by CLIPTextEncode: unplug it, this denoiser knows what no "
            "prompt is"
        )
