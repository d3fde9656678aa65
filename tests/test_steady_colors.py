"""Colors that stay while components change their order and sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from satclip_explore.atlas import load_atlas
from satclip_explore.projection import fit_pca, pca_raster
from satclip_explore.steady_colors import SteadyColors, matched


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_components_in_another_order_and_sign_are_painted_as_before(tiny_encoder, order, signs):
    fitted = fit_pca(tiny_encoder, 3)
    embeddings = tiny_encoder.embed(load_atlas().lonlat[:500])
    before = fitted.scores(embeddings)
    rows, signs = list(order), np.array(signs)
    low, high = fitted.low[rows], fitted.high[rows]
    other = replace(
        fitted,
        components=fitted.components[rows] * signs[:, None],
        low=np.where(signs < 0, -high, low),
        high=np.where(signs < 0, -low, high),
    )
    found = matched(other, other.scores(embeddings), before)
    np.testing.assert_array_equal(found.colors(embeddings), fitted.colors(embeddings))


def test_the_first_globe_is_the_usual_one_and_the_second_keeps_its_colors(tiny_encoder):
    colors = SteadyColors(10.0)
    first = colors.paint(tiny_encoder)
    np.testing.assert_array_equal(first, pca_raster(tiny_encoder, 10.0).to_numpy())
    np.testing.assert_array_equal(colors.paint(tiny_encoder), first)


def test_a_flat_component_does_not_spoil_the_match(tiny_encoder):
    fitted = fit_pca(tiny_encoder, 3)
    scores = fitted.scores(tiny_encoder.embed(load_atlas().lonlat[:500]))
    flat = scores.copy()
    flat[:, 2] = 0.0
    found = matched(fitted, flat, scores)
    np.testing.assert_array_equal(found.components, fitted.components)
