"""What a measure asks of the numbers that it is given."""

from __future__ import annotations

import numpy as np

from ..errors import DatasetError


def checked(name: str, features: np.ndarray, least: int = 1) -> np.ndarray:
    """Features [N, D] as float64. Raises DatasetError, with the name, if they are none or fewer than `least`."""
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not features.shape[1]:
        raise DatasetError(f"{name}: features are a table [samples, numbers], not of shape {features.shape}")
    if not np.isfinite(features).all():
        raise DatasetError(f"{name}: there is NaN or infinity in its features")
    if len(features) < least:
        raise DatasetError(f"{name}: it has {len(features)} samples, and this measure needs {least}")
    return features


def together(**sets: np.ndarray) -> list[np.ndarray]:
    """The checked features of several sets. Raises DatasetError if they are of different features."""
    tables = [checked(name, features) for name, features in sets.items()]
    widths = {name: table.shape[1] for name, table in zip(sets, tables, strict=True)}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise DatasetError(f"the sets have features of different kinds: {told} numbers a sample")
    return tables
