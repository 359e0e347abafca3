"""What a checkpoint says of its generator: JSON under `varifold.generator` in the metadata of a .safetensors file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..checkpoint.said import (
    check_shape,
    check_texts,
    check_version,
    check_vocabulary,
    from_json,
    make_lists,
    require,
    to_json,
)
from ..checkpoint.spec import CHANNELS
from ..checkpoint.spec import GENERATOR_KEY as KEY

VERSION = 1
NEEDED = {"version", "architecture", "config", "shape", "channels"}
PIXELS = ("rgb", "rgba")


@dataclass(frozen=True)
class GeneratorSpec:
    """Everything but the weights. Raises ValueError, naming the field, for a value out of bounds.

    architecture, config: a key of nets.GENERATORS and its settings;
    shape: (channels, height, width) of its pictures; channels: how a tensor becomes a picture, "rgb" or "rgba";
    vocabulary: words in the order of the net's word table, the first of which means no word;
    extra: fields of newer versions, kept when the spec is saved again.
    """

    architecture: str
    config: dict
    shape: tuple[int, int, int]
    channels: str = "rgba"
    vocabulary: tuple[str, ...] = ()
    title: str = ""
    licence: str = ""
    trained_on: str = ""
    version: int = VERSION
    extra: dict = field(default_factory=dict)

    def __post_init__(self):
        check_version(self, VERSION)
        make_lists(self, ("shape", "vocabulary"))
        check_texts(self, ("architecture", "title", "licence", "trained_on"))
        require(isinstance(self.config, dict), "config", self.config, "a table")
        known = isinstance(self.channels, str) and self.channels in PIXELS
        require(known, "channels", self.channels, f"one of {', '.join(PIXELS)}")
        check_shape(self, CHANNELS[self.channels][0])
        check_vocabulary(self)

    def to_json(self) -> str:
        return to_json(self)


def spec_from_json(text: str) -> GeneratorSpec:
    """Reads what `GeneratorSpec.to_json` writes. Raises ValueError with the field and the reason."""
    return from_json(GeneratorSpec, text, KEY, VERSION, NEEDED)
