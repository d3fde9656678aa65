import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from satclip_explore.geo import equal_area_sample, unit_vectors
from satclip_explore.sklearn import LocationEmbedder

NOT_APPLICABLE = {
    "check_fit_idempotent": "feeds random numbers that are no latitudes",
    "check_fit_check_is_fitted": "feeds random numbers that are no latitudes",
    "check_n_features_in": "feeds random numbers that are no latitudes",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks_pass_as_far_as_they_apply():
    results = check_estimator(LocationEmbedder("xyz"), on_fail=None)
    failed = {one["check_name"]: str(one["exception"]) for one in results
              if one["status"] == "failed"}  # fmt: skip
    assert set(failed) <= set(NOT_APPLICABLE), failed
    assert all("latitude must lie" in message for message in failed.values())
    assert sum(one["status"] == "passed" for one in results) > 35


def test_a_pipeline_learns_from_a_frame():
    lonlat = equal_area_sample(300, seed=0)
    frame = pd.DataFrame({"Latitude": lonlat[:, 1], "Longitude": lonlat[:, 0]})
    target = unit_vectors(lonlat) @ [1.0, 2.0, 3.0]
    scores = cross_val_score(make_pipeline(LocationEmbedder("xyz"), Ridge(1e-6)), frame, target)
    assert 0.999 < scores.min() <= scores.max() <= 1.0


def test_other_columns_may_pass_through():
    frame = pd.DataFrame(
        {"lon": [0.0, 90.0], "lat": [0.0, 0.0], "rain": [3, 4], "name": ["a", "b"]}
    )
    embedder = LocationEmbedder("xyz", passthrough=True).fit(frame)
    assert embedder.get_feature_names_out().tolist() == ["xyz_0", "xyz_1", "xyz_2", "rain"]
    np.testing.assert_allclose(
        embedder.transform(frame), [[1, 0, 0, 3], [0, 1, 0, 4]], rtol=0, atol=1e-6
    )
    with pytest.raises(ValueError, match="fit saw the columns rain"):
        embedder.transform(frame.drop(columns="rain"))


def test_geodataframes_are_taken():
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([0.0], [90.0]), crs=4326)
    np.testing.assert_allclose(
        LocationEmbedder("xyz").fit_transform(points), [[0, 0, 1]], rtol=0, atol=1e-6
    )


def test_an_encoder_object_is_used_as_it_is_and_survives_cloning(tiny_encoder):
    embedder = LocationEmbedder(tiny_encoder).fit([[0.0, 0.0]])
    assert embedder.encoder_ is tiny_encoder
    assert clone(LocationEmbedder("lonlat")).encoder == "lonlat"


def test_bad_places_and_unfitted_use_are_refused():
    with pytest.raises(ValueError, match="latitude must lie"):
        LocationEmbedder("xyz").fit([[0.0, 100.0]])
    with pytest.raises(NotFittedError):
        LocationEmbedder("xyz").transform([[0.0, 0.0]])
    with pytest.raises(ValueError, match="minimum of 2"):
        LocationEmbedder("xyz").fit([[0.0]])
