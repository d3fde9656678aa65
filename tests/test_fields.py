import inspect
import json

import numpy as np
import pytest

from satclip_explore.fields import EmbeddedGrid, embed_grid, similarity_raster
from satclip_explore.geo import Grid
from satclip_explore.regions import region


def test_embed_grid_has_named_axes_and_equals_single_places(tiny_encoder):
    field = embed_grid(tiny_encoder, 30.0)
    assert field.dims == ("lat", "lon", "embed")
    assert field.shape == (6, 12, 8)
    assert field.lat[0] > field.lat[-1]
    here = field.sel(lon=-45.0, lat=15.0)
    np.testing.assert_allclose(here, tiny_encoder.embed((-45.0, 15.0))[0], rtol=0, atol=1e-5)


def test_fields_say_where_they_come_from(tiny_encoder):
    attrs = embed_grid(tiny_encoder, 90.0).attrs
    assert attrs["encoder"] == "tiny-l5"
    assert attrs["grid_shape"] == "[2, 4]"


def test_similarity_is_one_at_the_place_and_is_the_cosine_elsewhere(tiny_encoder):
    field = similarity_raster(tiny_encoder, (-45.0, 15.0), 30.0)
    assert field.dims == ("lat", "lon")
    assert abs(field.sel(lon=-45.0, lat=15.0).item() - 1.0) < 1e-5
    a, b = tiny_encoder.embed([(-45.0, 15.0), (105.0, -75.0)]).astype(float)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert abs(field.sel(lon=105.0, lat=-75.0).item() - cosine) < 1e-5


def test_an_embedded_grid_gives_the_same_map(tiny_encoder):
    grid = EmbeddedGrid.of(tiny_encoder, 30.0)
    for place in [(-45.0, 15.0), (180.0, 90.0)]:
        direct = similarity_raster(tiny_encoder, place, 30.0)
        np.testing.assert_allclose(grid.similarity(place), direct, rtol=0, atol=1e-5)


def test_progress_counts_every_row_and_can_cancel(tiny_encoder):
    seen = []
    embed_grid(tiny_encoder, 1.0, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (180, 180)
    assert seen == sorted(seen)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        similarity_raster(tiny_encoder, (0, 0), 1.0, progress=stop)


def test_two_places_are_not_one(tiny_encoder):
    with pytest.raises(ValueError, match="need one place .* got 2"):
        similarity_raster(tiny_encoder, [(0, 0), (1, 1)], 30.0)


def test_a_grid_of_embeddings_that_would_fill_memory_is_refused(tiny_encoder):
    tiny_encoder.embed_dim = 4096
    with pytest.raises(ValueError, match="GB; use a coarser"):
        embed_grid(tiny_encoder, 0.1)


def test_a_region_gives_its_bounds_and_nothing_outside(tiny_encoder):
    field = embed_grid(tiny_encoder, 2.0, region="Madagascar")
    found = region("Madagascar")
    assert field.attrs["grid_bounds"] == json.dumps(list(found.bounds))
    places = np.stack(np.meshgrid(field.lon, field.lat), axis=-1).reshape(-1, 2)
    inside = found.contains(places).reshape(field.shape[:2])
    np.testing.assert_array_equal(np.isfinite(field.values).all(axis=2), inside)
    assert 0 < inside.sum() < inside.size
    alike = similarity_raster(tiny_encoder, (47.0, -19.0), 2.0, region="Madagascar")
    np.testing.assert_array_equal(np.isfinite(alike.values), inside)
    with pytest.raises(ValueError, match="give one of bounds, region and grid"):
        embed_grid(tiny_encoder, region="Chad", grid=Grid((0, 0, 1, 1), (2, 2)))


def test_bounds_over_the_antimeridian_are_those_of_a_turn_later(tiny_encoder):
    across = embed_grid(tiny_encoder, 5.0, (170, -30, -170, 10))
    np.testing.assert_array_equal(across, embed_grid(tiny_encoder, 5.0, (170, -30, 190, 10)))


def test_a_mistyped_keyword_names_the_closest(tiny_encoder):
    with pytest.raises(TypeError, match=r"no argument 'resoluton'. Did you mean resolution\?"):
        embed_grid(tiny_encoder, resoluton=5.0)
    assert "resolution" in inspect.signature(embed_grid).parameters
