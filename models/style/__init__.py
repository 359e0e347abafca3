"""What is done to pictures after they are drawn, or to pictures from elsewhere.

>>> from varifold.models import style
>>> painted = style.transfer(content, style_picture, method="strokes", strength=1.0, seed=0)
"""

from importlib import import_module
from typing import Any

__all__ = ["transfer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".restyle", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
