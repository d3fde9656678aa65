import numpy as np
import pytest

from satclip_explore.fields import EmbeddedGrid, embed_grid, similarity_raster


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
