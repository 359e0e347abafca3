"""Varifold's own checkpoints: the net's names as they are, everything else in the metadata."""

from .errors import quote
from .header import Header
from .layout import Match, Source
from .spec import KEY, spec_from_json

FAMILY = "Varifold checkpoint"


def match(header: Header) -> Match | None:
    """Fits a file with `varifold.spec` in its metadata. Raises ValueError if that cannot be used."""
    if KEY not in header.metadata:
        return None
    spec = spec_from_json(header.metadata[KEY])
    words = spec.config.get("vocabulary", 1)
    if spec.vocabulary and words != len(spec.vocabulary):
        raise ValueError(f"its vocabulary has {len(spec.vocabulary)} words and its net {quote(words)}")
    classes = spec.config.get("classes", 0)
    if spec.labels and classes != len(spec.labels):
        raise ValueError(f"it has {len(spec.labels)} labels and its net {quote(classes)} classes")
    return Match(FAMILY, spec, lambda name: Source((name,)), f"the file's metadata has {KEY}")
