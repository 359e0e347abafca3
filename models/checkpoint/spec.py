"""What a checkpoint says of its denoiser: JSON under `varifold.spec` in the metadata of a .safetensors file."""

import json
from dataclasses import asdict, dataclass, field, fields

from ..denoising.latents import LATENTS
from ..denoising.precondition import PRECONDITIONS
from ..denoising.space import SPACES
from ..denoising.timesteps import TABLES
from .errors import quote

KEY = "varifold.spec"
VERSION = 1
CHANNELS = {
    "rgba": (4, "channels 0-2 are (2·rgb − 1)·alpha, channel 3 is 2·alpha − 1"),
    "rgb": (3, "2·rgb − 1"),
    **{
        name: (latents.channels, f"latents of {latents.downscale}×{latents.downscale} pixels, times {latents.scale:g}")
        for name, latents in LATENTS.items()
    },
}
TABLED = ("eps", "v", "x0")
MAX_WORDS = 65536
MAX_WORD, MAX_LABEL = 64, 256  # letters; a class may have several names
MAX_SIDE = 16384
MAX_TEXT = 4096
MAX_DEPTH = 32


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
        _require(type(self.version) is int and 1 <= self.version <= VERSION, "version", self.version, f"1 to {VERSION}")
        for name in ("shape", "vocabulary", "labels"):
            value = getattr(self, name)
            _require(isinstance(value, (list, tuple)), name, value, "a list")
            object.__setattr__(self, name, tuple(value))
        for name in ("architecture", "title", "licence", "trained_on", "betas"):
            _require(_is_text(getattr(self, name), MAX_TEXT), name, getattr(self, name), "a printable text")
        _require(isinstance(self.config, dict), "config", self.config, "a table")

        for name, table in (("prediction", PRECONDITIONS), ("space", SPACES), ("channels", CHANNELS)):
            value = getattr(self, name)
            _require(isinstance(value, str) and value in table, name, value, f"one of {', '.join(table)}")
        space = PRECONDITIONS[self.prediction]().space
        _require(self.space == space.name, "space", self.space, f"{space.name}, where {self.prediction} lives")

        _require(self.betas in ("", *TABLES), "betas", self.betas, f"empty, or one of {', '.join(TABLES)}")
        _require(not self.betas or self.prediction in TABLED, "betas", self.betas, f"empty with {self.prediction}")

        for name in ("sigma_min", "sigma_max", "sigma_data"):
            _require(_is_number(getattr(self, name)), name, getattr(self, name), "a number above 0 and below 1e6")
        ordered = self.sigma_min < self.sigma_max <= space.sigma_limit
        _require(ordered, "sigma_max", self.sigma_max, f"above sigma_min and at most {space.sigma_limit:g}")

        sides = all(type(side) is int and 0 < side <= MAX_SIDE for side in self.shape)
        _require(sides and len(self.shape) == 3, "shape", self.shape, "[channels, height, width]")
        _require(self.shape[0] == CHANNELS[self.channels][0], "channels", self.channels, "as many as shape says")
        for name, longest in (("vocabulary", MAX_WORD), ("labels", MAX_LABEL)):
            words = getattr(self, name)
            fine = len(words) <= MAX_WORDS and all(_is_text(word, longest) and word for word in words)
            _require(fine, name, words, f"a list of texts of at most {longest} letters")
        differ = len(set(self.vocabulary)) == len(self.vocabulary)
        _require(differ, "vocabulary", self.vocabulary, "a list of different words")

    def to_json(self) -> str:
        return json.dumps({**self.extra, **{k: v for k, v in asdict(self).items() if k != "extra"}}, ensure_ascii=False)


def spec_from_json(text: str) -> Spec:
    """Reads what `Spec.to_json` writes. Raises ValueError with the field and the reason."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{KEY} is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError(f"{KEY} is not a JSON object")
    if not _is_shallow(values):
        raise ValueError(f"{KEY} is nested more than {MAX_DEPTH} deep")
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise ValueError(f"{KEY} is of version {quote(version)}, newer than this Varifold's {VERSION}: update Varifold")
    known = {f.name for f in fields(Spec)} - {"extra"}
    missing = {"version", "architecture", "config", "prediction", "shape", "sigma_min", "sigma_max"} - set(values)
    if missing:
        raise ValueError(f"{KEY} lacks {', '.join(sorted(missing))}")
    extra = {name: value for name, value in values.items() if name not in known}
    return Spec(**{name: value for name, value in values.items() if name in known}, extra=extra)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} should be {expected}, and is {quote(value)}")


def _is_text(value: object, limit: int) -> bool:
    return isinstance(value, str) and len(value) <= limit and all(c.isprintable() or c == "\n" for c in value)


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        tables = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for table in tables for each in table]
    return not level


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < 1e6
