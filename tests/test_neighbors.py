import numpy as np
import pandas as pd
import pytest

from satclip_explore.geo import great_circle_km
from satclip_explore.neighbors import FIRST_LOOK, NeighborIndex, best_rows, nearest_neighbors


@pytest.fixture
def table(places):
    return pd.DataFrame({"lon": places[:, 0], "lat": places[:, 1], "name": list("abcdefgh")})


def test_the_best_comes_first_and_is_exact(tiny_encoder, table):
    found = nearest_neighbors(tiny_encoder, (13, 52), 8, min_distance_km=0, places=table)
    embeddings = tiny_encoder.embed(table).astype(float)
    query = tiny_encoder.embed((13, 52))[0].astype(float)
    cosine = embeddings @ query / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(query)
    assert found["name"].tolist() == [table["name"][row] for row in np.argsort(-cosine)]
    np.testing.assert_allclose(found["similarity"], np.sort(cosine)[::-1], rtol=0, atol=1e-6)
    assert found.attrs["encoder"] == "tiny-l5"
    assert list(found.columns[:4]) == ["lon", "lat", "similarity", "distance_km"]


def test_a_weak_likeness_is_said(tiny_encoder, table):
    everywhere = nearest_neighbors(tiny_encoder, (13, 52), 8, min_distance_km=0, places=table)
    np.testing.assert_allclose(everywhere["more_alike"], np.arange(8) / 8)
    assert "note" not in everywhere.attrs
    found = nearest_neighbors(tiny_encoder, (13, 52), 8, 0, (-1, -1, 1, 1), places=table)
    assert found["more_alike"].tolist() == [7 / 8]
    assert found.attrs["note"].startswith("a weak likeness")
    assert "88% of all places" in found.attrs["note"]


def test_places_nearer_than_the_minimum_distance_are_left_out(tiny_encoder, table):
    found = nearest_neighbors(tiny_encoder, (13.4, 52.5), 8, min_distance_km=500, places=table)
    assert "f" not in found["name"].tolist()
    assert (found["distance_km"] >= 500).all()


def test_spacing_keeps_neighbors_apart(tiny_encoder, table):
    found = nearest_neighbors(tiny_encoder, (13.4, 52.5), 8, 0, spacing_km=2000, places=table)
    assert {"c", "d"} - set(found["name"])  # 100 m apart over the antimeridian
    lonlat = found[["lon", "lat"]].to_numpy()
    for i in range(len(lonlat)):
        for j in range(i):
            assert great_circle_km(lonlat[i], lonlat[j]) >= 2000


def test_a_region_limits_the_search(tiny_encoder):
    found = nearest_neighbors(tiny_encoder, (13.4, 52.5), 5, region="Africa")
    assert set(found["continent"]) == {"Africa"}
    assert {"country", "biome"} <= set(found)


def test_fewer_places_than_asked_for_is_no_error(tiny_encoder, table):
    assert len(nearest_neighbors(tiny_encoder, (0, 0), 99, 0, places=table)) == 8
    assert nearest_neighbors(tiny_encoder, (0, 0), 3, 30_000, places=table).empty


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"min_distance_km": -1}, "0 km or more"),
        ({"spacing_km": float("nan")}, "spacing_km must be finite"),
        ({"lonlat": (0, 91)}, "latitude"),
        ({"lonlat": [(0, 0), (1, 1)]}, "need one place"),
        ({"places": pd.DataFrame({"lon": [], "lat": []})}, "the table is empty"),
        ({"places": pd.DataFrame({"a": [1]})}, "no coordinate columns"),
    ],
)
def test_bad_queries_get_a_sentence(tiny_encoder, table, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        nearest_neighbors(tiny_encoder, **{"lonlat": (0, 0), "places": table} | settings)


def test_places_without_coverage_are_never_neighbors(tiny_encoder, table):
    index = NeighborIndex.of(tiny_encoder, table)
    index.unit[3] = float("nan")
    assert "d" not in index.query((0, 0), 8, min_distance_km=0)["name"].tolist()


@pytest.mark.parametrize("n", [1, 10, FIRST_LOOK, 5000])
def test_the_best_rows_are_those_of_a_full_sort_with_ties_by_row(n):
    score = np.random.default_rng(0).integers(0, 300, 20_000).astype(np.float32)
    score[::7] = np.nan
    full = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
    np.testing.assert_array_equal(best_rows(score, n, lambda rows: rows), full[:n])


def test_a_filter_that_few_pass_is_asked_until_all_are_seen():
    score = -np.arange(50_000.0)
    looks = []

    def last_two(rows):
        looks.append(len(rows))
        return rows[rows >= 49_998]

    assert best_rows(score, 5, last_two).tolist() == [49_998, 49_999]
    assert looks == [1000, 8000, 50_000]
    assert best_rows(score, 2, lambda rows: rows[rows % 2 == 1]).tolist() == [1, 3]
    assert best_rows(np.full(3, np.nan), 2, lambda rows: rows).size == 0


def test_a_table_is_encoded_once_for_an_encoder_with_a_hash(tiny_encoder, table, monkeypatch):
    calls, embed = [], type(tiny_encoder).embed
    monkeypatch.setattr(
        type(tiny_encoder), "embed", lambda self, at: calls.append(len(at)) or embed(self, at)
    )
    for weights_hash, times in (("", 2), ("of this test", 1)):
        calls.clear()
        tiny_encoder.weights_hash = weights_hash
        for _ in range(2):
            nearest_neighbors(tiny_encoder, (0, 0), 3, 0, places=table)
        assert calls.count(len(table)) == times
    nearest_neighbors(tiny_encoder, (0, 0), 3, 0, places=table.iloc[:5])
    assert calls.count(5) == 1
