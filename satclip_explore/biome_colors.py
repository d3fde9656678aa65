"""An embedding painted as a map of biomes: forests green, deserts sand, steppe ocher, ice white.

The first principal components of most location encoders follow latitude, and without the zonal
mean they follow the continents. Of 5,000 land places, three such colors of `mini-l40` name the
biome of 74 % and 64 % (by the 25 nearest of 5,000 others); these colors name that of 79 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.projection import Projection
from satclip_explore.store import RESULTS

N_SAMPLES = 10_000
RIDGE = 1e-3
"""Penalty, in units of the embedding's mean variance: holds back directions that hardly vary."""

BIOMES = {
    "Tropical & Subtropical Moist Broadleaf Forests": ("rainforest", "#146e32"),
    "Tropical & Subtropical Dry Broadleaf Forests": ("", "#789632"),
    "Tropical & Subtropical Coniferous Forests": ("", "#508c3c"),
    "Temperate Broadleaf & Mixed Forests": ("temperate forest", "#46a05a"),
    "Temperate Conifer Forests": ("", "#32826e"),
    "Boreal Forests/Taiga": ("taiga", "#286e82"),
    "Tropical & Subtropical Grasslands, Savannas & Shrublands": ("savanna", "#cdbe46"),
    "Temperate Grasslands, Savannas & Shrublands": ("steppe", "#e1a550"),
    "Flooded Grasslands & Savannas": ("", "#6eb496"),
    "Montane Grasslands & Shrublands": ("highland", "#be826e"),
    "Tundra": ("tundra", "#96a0be"),
    "Mediterranean Forests, Woodlands & Scrub": ("Mediterranean", "#c86e3c"),
    "Deserts & Xeric Shrublands": ("desert", "#fae196"),
    "Mangroves": ("", "#146e32"),
    "Rock and Ice": ("ice", "#ffffff"),
}
"""Biomes of RESOLVE Ecoregions 2017: a word for a legend, empty where it is left out, a color."""


def fit_biome_colors(encoder: LocationEncoder) -> Projection:
    """Fit three directions whose values are the red, green and blue of the biome of each place.

    A linear model reads the colors of `BIOMES` out of the embedding: what is not in it is not in
    the picture, and two encoders are painted in the same colors.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder; places without coverage are left out.

    Returns
    -------
    Projection
        Its scores are colors less their mean. `explained` is the share of the variance of each
        color that the embedding tells. The same object for the same encoder.

    Raises
    ------
    ValueError
        If fewer than two labeled places are covered.
    """
    return RESULTS.get(("biome colors", encoder), lambda: _fit(encoder))


def _fit(encoder: LocationEncoder) -> Projection:
    places = load_atlas().places[:N_SAMPLES]
    places = places[places["biome"].isin(list(BIOMES))]
    embeddings = encoder.embed(places[["lon", "lat"]].to_numpy()).astype(np.float64)
    covered = np.isfinite(embeddings).all(axis=1)
    if covered.sum() < 2:
        raise ValueError(
            f"{encoder.name} covers {covered.sum()} of the sampled land places: too few to color."
        )
    targets = np.array([_rgb(BIOMES[name][1]) for name in places["biome"][covered]])
    embeddings = embeddings[covered]
    mean, middle = embeddings.mean(axis=0), targets.mean(axis=0)
    centered, wanted = embeddings - mean, targets - middle
    gram = centered.T @ centered
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram) + 1e-12
    components = np.linalg.solve(gram, centered.T @ wanted).T
    left = ((wanted - centered @ components.T) ** 2).sum(axis=0)
    varies = np.maximum((wanted**2).sum(axis=0), 1e-12)
    return Projection(mean, components, 1.0 - left / varies, -middle, 255.0 - middle)


def _rgb(color: str) -> NDArray[np.float64]:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
