"""Weights made here in published layouts, and places that tell encoders apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch


class _Harm:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def _draw(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) / max(1, (shape or (1,))[-1]) ** 0.5
        for key, shape in shapes.items()
    }


@pytest.fixture(scope="session")
def draw():
    """Shapes by key to weights whose layers keep the size of what passes through them."""
    return _draw


@pytest.fixture
def edges(places) -> np.ndarray:
    """Poles, both sides of the antimeridian, 180 itself, and cities: (9, 2), the last one 180."""
    return np.concatenate([places, [[180.0, 10.0]]])


@pytest.fixture
def refuses_code(tmp_path):
    """Check that reading a pickle with code in it is one sentence and runs nothing."""

    def check(read, content):
        trace, path = tmp_path / "trace", tmp_path / "hostile.pt"
        torch.save(content | {"extra": _Harm(str(trace))}, path)
        with pytest.raises(ValueError, match="would run code") as error:
            read(path)
        assert "\n" not in str(error.value)
        assert not trace.exists()

    return check


def relative(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest error, of what the numbers reach."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="session")
def error_of():
    """Largest error of what is got against what is expected, relative to the largest number."""
    return relative
