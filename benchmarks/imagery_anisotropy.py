"""How much faster imagery changes northward than eastward: no label is looked at.

Run it from the repository, with a folder of twelve monthly Blue Marble images:

    python -m benchmarks.imagery_anisotropy FOLDER

The embedded encoders' kernel of what is near is shorter northward by this factor.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.geo import EARTH_RADIUS_KM
from training.imagery.patch_statistics import PatchStatistics
from training.imagery.whitening import Whitening
from training.pretraining.config import load_config
from training.pretraining.extractors import open_extractor

PLACES, QUERIES = 20_000, 3_000
EDGES_KM = np.array([100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0])


def image_components(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Compute what the embedded encoders learn of images by day, at random land places."""
    config = load_config("mini-l40")
    by_day = config.features.scale_weights[: len(config.features.scales_km)]
    config = config.replace(
        places=PLACES, ocean_fraction=0.0, augmentations=1, night_lights=False, scale_weights=by_day
    )
    extractor, _ = open_extractor(config, folder)
    assert isinstance(extractor, PatchStatistics)
    table = np.empty((PLACES, extractor.dim), dtype=np.float32)
    for block in range(extractor.blocks):
        table[:, extractor.columns(block)] = extractor.compute(block)[0]
    whitening = Whitening(extractor.groups, config.features.components)
    whitening.fit(table)
    weights = whitening.relevance(config.training.regression_power, config.features.scale_weights)
    return extractor.lonlat, (whitening(torch.from_numpy(table)) * weights).numpy()


def variograms(
    lonlat: NDArray[np.float64], values: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure semivariance by distance among pairs that lie east-west, and north-south.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees.
    values : numpy.ndarray, shape (N, K)
        What differs between places.

    Returns
    -------
    eastward, northward : numpy.ndarray, shape (5,)
        Half the mean squared difference between `EDGES_KM`, in units of the variance. Across, the
        pairs are less than half the lower edge apart.
    """
    rows = np.random.default_rng(0).permutation(len(lonlat))[:QUERIES]
    rows = rows[np.abs(lonlat[rows, 1]) < 60.0]
    lon, lat = np.radians(lonlat).T
    apart = (lon[rows, None] - lon + np.pi) % (2.0 * np.pi) - np.pi
    east = np.abs(apart) * np.cos(0.5 * (lat[rows, None] + lat)) * EARTH_RADIUS_KM
    north = np.abs(lat[rows, None] - lat) * EARTH_RADIUS_KM
    square = (values**2).sum(axis=1)
    squared = square[rows, None] + square - 2.0 * values[rows] @ values.T
    squared /= 2.0 * values.var(axis=0).sum()
    found = [
        [
            squared[(along > low) & (along <= high) & (across < low / 2.0)].mean()
            for low, high in pairwise(EDGES_KM)
        ]
        for along, across in ((east, north), (north, east))
    ]
    return np.array(found[0]), np.array(found[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    eastward, northward = variograms(*image_components(parser.parse_args(arguments).folder))
    middle = np.sqrt(EDGES_KM[1:] * EDGES_KM[:-1])
    print("     km  eastward  northward  as far eastward")
    for km, east, north in zip(middle, eastward, northward, strict=True):
        # Where the eastward curve reaches the same value, on a logarithmic scale of distance.
        same = np.exp(np.interp(north, eastward, np.log(middle), left=np.nan, right=np.nan))
        far = f"{same:7.0f} km, {same / km:.1f} times" if np.isfinite(same) else "beyond"
        print(f"{km:7.0f}  {east:8.3f}  {north:9.3f}  {far}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
