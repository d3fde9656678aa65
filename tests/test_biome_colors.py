"""Colors of biomes, read out of an embedding."""

from __future__ import annotations

import numpy as np
import pytest

from satclip_explore.atlas import load_atlas
from satclip_explore.biome_colors import BIOMES, fit_biome_colors
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.projection import fit_pca


class Labels:
    """Its embedding names the biome, and nothing else."""

    name, weights_hash = "labels", ""

    def embed(self, lonlat):
        biome = load_atlas().nearest(lonlat)["biome"].to_numpy()
        return np.stack([biome == name for name in BIOMES], axis=1).astype(float)


def _told(scores, biome):
    """Share of the variance of scaled scores that lies between biomes."""
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    within = sum(
        ((scores[biome == name] - scores[biome == name].mean(axis=0)) ** 2).sum()
        for name in np.unique(biome)
    )
    return 1.0 - within / (scores**2).sum()


def test_an_embedding_that_names_the_biome_gets_the_colors_of_the_legend():
    projection = fit_biome_colors(Labels())
    places = {"desert": (10.0, 24.0), "rainforest": (-63.0, -5.0), "ice": (-40.0, 72.0)}
    wanted = {word: color for word, color in BIOMES.values() if word}
    for word, place in places.items():
        color = projection.colors(Labels().embed([place]))[0]
        expected = [int(wanted[word][i : i + 2], 16) for i in (1, 3, 5)]
        np.testing.assert_allclose(color, expected, atol=6, err_msg=word)
    assert projection.explained.min() > 0.95


def test_biomes_are_further_apart_in_these_colors_than_in_principal_components():
    encoder = load_encoder("mini-l10")
    places = load_atlas().places[10_000:13_000].dropna(subset="biome")
    embeddings = encoder.embed(places[["lon", "lat"]].to_numpy())
    biome = places["biome"].to_numpy()
    ours = _told(fit_biome_colors(encoder).scores(embeddings), biome)
    components = _told(fit_pca(encoder, 3).scores(embeddings), biome)
    assert ours > components + 0.1


def test_an_encoder_that_covers_nothing_is_refused():
    class Nowhere(Labels):
        name = "nowhere"

        def embed(self, lonlat):
            return np.full((len(lonlat), 3), np.nan)

    with pytest.raises(ValueError, match="nowhere covers 0"):
        fit_biome_colors(Nowhere())
