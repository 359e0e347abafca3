"""What a checkpoint says of its denoiser: JSON under `varifold.spec` in the metadata of a .safetensors file."""

from dataclasses import dataclass, field

from ..denoising.latents import LATENTS
from ..denoising.precondition import PRECONDITIONS
from ..denoising.space import SPACES
from ..denoising.timesteps import TABLES
from .said import (
    MAX_LABEL,
    check_shape,
    check_texts,
    check_version,
    check_vocabulary,
    check_words,
    from_json,
    make_lists,
    require,
    to_json,
)

KEY = "varifold.spec"
GENERATOR_KEY = "varifold.generator"  # of a file that is a generator, see generating.spec
VERSION = 1
NEEDED = {"version", "architecture", "config", "prediction", "shape", "sigma_min", "sigma_max"}
CHANNELS = {
    "rgba": (4, "channels 0-2 are (2·rgb − 1)·alpha, channel 3 is 2·alpha − 1"),
    "rgb": (3, "2·rgb − 1"),
    **{
        name: (latents.channels, f"latents of {latents.downscale}×{latents.downscale} pixels, times {latents.scale:g}")
        for name, latents in LATENTS.items()
    },
}
TABLED = ("eps", "v", "x0")


@dataclass(frozen=True)
class Spec:
    """Everything but the weights. Raises ValueError, naming the field, for a value out of bounds.

    prediction: what the net's output means, a key of PRECONDITIONS ("edm" needs sigma_data);
    space and sigma_min, sigma_max: where it was trained, see denoising.space;
    shape: (channels, height, width) of the pictures it draws by itself;
    betas: for a net that was trained at a table of levels and is told their number: a key of TABLES, else "";
    channels: how a tensor becomes a picture, a key of CHANNELS, colours and alpha from 0 to 1;
    vocabulary: words in the order of the net's word table, the first of which means no word;
    labels: names of the net's classes in their order, see denoising.labels;
    extra: fields of newer versions, kept when the spec is saved again.
    """

    architecture: str
    config: dict
    prediction: str
    shape: tuple[int, int, int]
    sigma_min: float
    sigma_max: float
    space: str = "ve"
    sigma_data: float = 0.5
    channels: str = "rgba"
    vocabulary: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    title: str = ""
    licence: str = ""
    trained_on: str = ""
    version: int = VERSION
    betas: str = ""
    extra: dict = field(default_factory=dict)

    def __post_init__(self):
        check_version(self, VERSION)
        make_lists(self, ("shape", "vocabulary", "labels"))
        check_texts(self, ("architecture", "title", "licence", "trained_on", "betas"))
        require(isinstance(self.config, dict), "config", self.config, "a table")

        for name, table in (("prediction", PRECONDITIONS), ("space", SPACES), ("channels", CHANNELS)):
            value = getattr(self, name)
            require(isinstance(value, str) and value in table, name, value, f"one of {', '.join(table)}")
        space = PRECONDITIONS[self.prediction]().space
        require(self.space == space.name, "space", self.space, f"{space.name}, where {self.prediction} lives")

        require(self.betas in ("", *TABLES), "betas", self.betas, f"empty, or one of {', '.join(TABLES)}")
        require(not self.betas or self.prediction in TABLED, "betas", self.betas, f"empty with {self.prediction}")

        for name in ("sigma_min", "sigma_max", "sigma_data"):
            require(_is_number(getattr(self, name)), name, getattr(self, name), "a number above 0 and below 1e6")
        ordered = self.sigma_min < self.sigma_max <= space.sigma_limit
        require(ordered, "sigma_max", self.sigma_max, f"above sigma_min and at most {space.sigma_limit:g}")

        check_shape(self, CHANNELS[self.channels][0])
        check_vocabulary(self)
        check_words(self, "labels", MAX_LABEL)

    def to_json(self) -> str:
        return to_json(self)


def spec_from_json(text: str) -> Spec:
    """Reads what `Spec.to_json` writes. Raises ValueError with the field and the reason."""
    return from_json(Spec, text, KEY, VERSION, NEEDED)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < 1e6
