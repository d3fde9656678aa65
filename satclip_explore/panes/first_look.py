"""The picture that is shown before anything is computed: the land of the default encoder.

It ships with the package, made by `python -m scripts.first_look`, without loss; its name holds what
it was made of, so that it stands for no other encoder. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from satclip_explore.store import RESULTS

FOLDER = Path(__file__).resolve().parents[1] / "data" / "mini-l40"


def shipped() -> Path | None:
    """Return the picture in this package, whatever encoder it is of; None where there is none."""
    return next(iter(sorted(FOLDER.glob("land-*.webp"))), None)


def path_for(encoder: Any) -> Path:
    """Name the picture of an encoder after its weights and all that says how they are used."""
    used = f"{encoder.weights_hash} {encoder.dtype} {getattr(encoder, 'config', None)}"
    return FOLDER / f"land-{hashlib.sha256(used.encode()).hexdigest()[:16]}.webp"


def land_of(encoder: Any) -> np.ndarray | None:
    """Return the globe in the colors of biomes, clear where there is sea, or None.

    Returns
    -------
    numpy.ndarray, shape (720, 1440, 4), uint8, or None
        None where the picture in this package is of other weights.
    """
    path = path_for(encoder)
    if not encoder.weights_hash or not path.is_file():
        return None
    return RESULTS.get(("first look", path.name), lambda: np.asarray(Image.open(path)))
