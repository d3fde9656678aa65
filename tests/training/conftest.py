"""A small Earth that the tests paint, in place of Blue Marble."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.imagery.blue_marble import OCEAN

WIDTH, HEIGHT = 256, 128


@pytest.fixture(scope="session")
def earth(tmp_path_factory):
    """Twelve images: land between 90 W and 90 E and at the poles, redder in every month."""
    folder = tmp_path_factory.mktemp("earth")
    rng = np.random.default_rng(0)
    for month in range(1, 13):
        image = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
        image[:] = OCEAN
        image[:, 64:192] = (60 + 10 * month, 120, 60)
        image[:10] = image[-10:] = (200, 220, 240)
        image[:, 64:192, 1] += rng.integers(0, 30, (HEIGHT, 128), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"world.2004{month:02d}.png")
    return folder


@pytest.fixture
def lit_earth(earth, tmp_path):
    """The same Earth, with one city on its equator, in an image of another size."""
    folder = tmp_path / "lit"
    folder.mkdir()
    for path in earth.iterdir():
        (folder / path.name).symlink_to(path)
    lights = np.zeros((64, 128), dtype=np.uint8)
    lights[30:34, 62:66] = 200
    Image.fromarray(lights).save(folder / "BlackMarble_2016_gray.png")
    return folder
