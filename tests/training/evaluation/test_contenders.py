"""Contenders are scikit-learn's, fold by fold, to 1e-6."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.evaluation import contenders, ridge
from training.evaluation.contenders import (
    Boosting,
    Constant,
    InverseDistance,
    Kriging,
    Labels,
    Logistic,
    Nearest,
)
from training.tasks.folds import make_rungs
from training.tasks.task import Task


def labels(n=160, width=6, n_classes=0, seed=0):
    rng = np.random.default_rng(seed)
    lonlat = np.stack([rng.uniform(-180, 180, n), rng.uniform(-60, 60, n)], axis=1)
    x = rng.normal(size=(n, width)) * [1, 10, 0.1, 1, 5, 2][:width] + 3.0
    y = x[:, 0] + np.sin(lonlat[:, 1] / 20) + rng.normal(size=n) / 3
    target = np.digitize(y, np.quantile(y, [0.3, 0.7])) if n_classes else y
    return Labels(lonlat, target, n_classes, x, np.arange(n))


def rung_of(found, wanted="random", **more):
    names = tuple("abc")[: found.n_classes]
    kind = "classification" if found.n_classes else "regression"
    task = Task("t", kind, found.lonlat, found.target, names)
    return make_rungs(task, [wanted], seeds=2, **more)[0][0]


def test_ridge_is_scikit_learns_on_every_fold():
    found = labels()
    rung = rung_of(found, 10.0, buffer_km=300.0)
    for seed, fold, scores in contenders.Ridge([3.0]).out_of_fold(found, rung):
        split = rung.split(seed, fold)
        theirs = make_pipeline(StandardScaler(), Ridge(alpha=3.0))
        theirs.fit(found.features[split.train], found.target[split.train])
        expected = theirs.predict(found.features[split.test])
        np.testing.assert_allclose(scores[:, 0], expected, atol=1e-6)


def test_ridge_keeps_its_digits_where_targets_are_far_from_zero():
    near = labels()
    far = Labels(near.lonlat, near.target + 1e9, 0, near.features, near.groups)
    rung = rung_of(near)
    model = contenders.Ridge()
    pairs = zip(model.out_of_fold(near, rung), model.out_of_fold(far, rung), strict=True)
    for (_, _, one), (_, _, other) in pairs:
        # A step of float64 at 1e9 is 1e-7.
        np.testing.assert_allclose(other - 1e9, one, atol=1e-5)
    one = model.fit_all(near, rung, 0.0)(near.features, near.lonlat)
    other = model.fit_all(far, rung, 0.0)(near.features, near.lonlat)
    np.testing.assert_allclose(other - 1e9, one, atol=1e-5)


def test_the_penalty_is_the_one_that_the_other_folds_would_choose():
    found = labels()
    penalties = (0.1, 10.0, 1000.0)
    rung = rung_of(found, 10.0, buffer_km=300.0)
    splits = [rung.split(0, fold) for fold in range(5)]
    for (seed, fold, scores), split in zip(
        contenders.Ridge(penalties).out_of_fold(found, rung), splits, strict=False
    ):
        assert seed == 0
        error = np.zeros(3)
        for other in splits[:fold] + splits[fold + 1 :]:
            inner = np.intersect1d(split.train, other.train)
            for k, alpha in enumerate(penalties):
                theirs = make_pipeline(StandardScaler(), Ridge(alpha=alpha))
                theirs.fit(found.features[inner], found.target[inner])
                missed = theirs.predict(found.features[other.test]) - found.target[other.test]
                error[k] += np.square(missed).sum()
        theirs = make_pipeline(StandardScaler(), Ridge(alpha=penalties[error.argmin()]))
        theirs.fit(found.features[split.train], found.target[split.train])
        expected = theirs.predict(found.features[split.test])
        np.testing.assert_allclose(scores[:, 0], expected, atol=1e-6)


def test_two_folds_choose_a_penalty_without_the_tested_one():
    found = labels()
    rung = rung_of(found, folds=2)
    before = [scores for _, _, scores in contenders.Ridge().out_of_fold(found, rung)]
    test = rung.split(0, 0).test
    target = found.target.copy()
    target[test] = np.random.default_rng(5).normal(size=len(test)) * 100.0
    changed = Labels(found.lonlat, target, 0, found.features, found.groups)
    after = [scores for _, _, scores in contenders.Ridge().out_of_fold(changed, rung)]
    np.testing.assert_allclose(before[0], after[0], atol=1e-9)
    assert not np.allclose(before[1], after[1])


def test_a_growing_penalty_is_ridge_on_shrunken_chunks():
    found = labels()
    rows = ridge.Moments.of(found.features, found.columns)
    chunk = ridge.chunks_of(6, (2, 4))
    assert chunk.tolist() == [0, 0, 1, 1, 2, 2]
    fitted = ridge.solve(rows, (2.0,), chunk)
    x = StandardScaler().fit_transform(found.features)
    for k, growth in enumerate(ridge.GROWTHS):
        theirs = Ridge(alpha=2.0).fit(x / growth ** (chunk / 2), found.target)
        expected = theirs.predict(x / growth ** (chunk / 2))
        np.testing.assert_allclose(fitted.predict(found.features, k)[:, 0], expected, atol=1e-6)


def test_nested_prefixes_get_a_penalty_of_their_own():
    found = labels()
    nested = Labels(found.lonlat, found.target, 0, found.features, found.groups, (2, 4, 512))
    model, rung = contenders.Ridge(), rung_of(found)
    plain = np.concatenate([scores for _, _, scores in model.out_of_fold(found, rung)])
    chunked = np.concatenate([scores for _, _, scores in model.out_of_fold(nested, rung)])
    assert np.isfinite(chunked).all()
    assert not np.allclose(plain, chunked)


def test_classes_are_predicted_by_one_column_each():
    found = labels(n_classes=3)
    rung = rung_of(found)
    for seed, fold, scores in contenders.Ridge([1.0]).out_of_fold(found, rung):
        split = rung.split(seed, fold)
        theirs = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
        theirs.fit(found.features[split.train], found.columns[split.train])
        np.testing.assert_allclose(scores, theirs.predict(found.features[split.test]), atol=1e-6)


def test_many_classes_choose_their_penalty_on_a_sketch():
    found = labels(n=200)
    many = Labels(found.lonlat, np.arange(200) % 40, 40, found.features, found.groups)
    names = tuple(map(str, range(40)))
    task = Task("t", "classification", many.lonlat, many.target, names)
    rung = make_rungs(task, ["random"], seeds=1)[0][0]
    for _, _, scores in contenders.Ridge().out_of_fold(many, rung):
        assert scores.shape == (40, 40)
        assert np.isfinite(scores).all()


def test_idw_is_scikit_learns_on_every_fold():
    found = labels()
    rung = rung_of(found, 10.0)
    radians = np.radians(found.lonlat[:, ::-1])
    for model in (InverseDistance(12), Nearest()):
        for seed, fold, scores in model.out_of_fold(found, rung):
            split = rung.split(seed, fold)
            theirs = KNeighborsRegressor(
                model.n_neighbors, weights="distance", metric="haversine", algorithm="ball_tree"
            ).fit(radians[split.train], found.target[split.train])
            np.testing.assert_allclose(scores[:, 0], theirs.predict(radians[split.test]), atol=1e-6)


def test_idw_of_classes_is_scikit_learns():
    found = labels(n_classes=3)
    rung = rung_of(found)
    radians = np.radians(found.lonlat[:, ::-1])
    for seed, fold, scores in InverseDistance(12).out_of_fold(found, rung):
        split = rung.split(seed, fold)
        theirs = KNeighborsClassifier(
            12, weights="distance", metric="haversine", algorithm="ball_tree"
        ).fit(radians[split.train], found.target[split.train])
        np.testing.assert_allclose(scores, theirs.predict_proba(radians[split.test]), atol=1e-6)


def test_a_label_at_the_very_place_is_the_prediction():
    found = labels()
    predict = InverseDistance().fit(found, np.arange(160), 0.0)
    np.testing.assert_array_equal(predict(found.features, found.lonlat)[:, 0], found.target)


def test_logistic_regression_is_at_the_top_of_its_penalized_likelihood():
    found = labels(n_classes=3)
    rows = np.arange(0, 160, 2)
    chance = Logistic().fit(found, rows, 0.0)(found.features[rows], found.lonlat[rows])
    np.testing.assert_allclose(chance.sum(1), 1.0, atol=1e-12)
    # Logarithms of the chances are linear in the features: weights are read from them.
    x = StandardScaler().fit_transform(found.features[rows])
    logits = np.log(chance) - np.log(chance).mean(1, keepdims=True)
    design = np.column_stack([x, np.ones(len(x))])
    weights, left = np.linalg.lstsq(design, logits)[:2]
    assert left.max() < 1e-12
    # There the likelihood rises as fast as half the sum of squared weights, a penalty of 1.
    slope = design.T @ (found.columns[rows] - chance)
    np.testing.assert_allclose(slope[:-1], weights[:-1], atol=0.02)
    np.testing.assert_allclose(slope[-1], 0.0, atol=0.02)


@pytest.mark.parametrize("model", [Constant(), Kriging(), Boosting(), Logistic()])
def test_a_class_without_training_places_gets_the_lowest_score(model):
    found = labels(n_classes=3)
    known = np.flatnonzero(found.target != 1)
    scores = model.fit(found, known, 500.0)(found.features, found.lonlat)
    assert scores.shape == (160, 3)
    assert np.isfinite(scores).all()
    assert (scores[:, 1] <= scores.min(1)).all()
    if not isinstance(model, Constant):
        assert (scores.argmax(1) == found.target)[known].mean() > 0.8


@pytest.mark.parametrize("model", [Kriging(), Boosting(), Logistic()])
def test_where_one_class_trains_it_is_the_prediction(model):
    found = labels(n_classes=3)
    scores = model.fit(found, np.flatnonzero(found.target == 1), 500.0)(
        found.features, found.lonlat
    )
    assert scores.shape == (160, 3)
    assert (scores.argmax(1) == 1).all()


@pytest.mark.parametrize("model", [Constant(), Kriging(), Boosting()])
def test_values_are_predicted_in_one_column(model):
    found = labels()
    scores = model.fit(found, np.arange(160), 500.0)(found.features, found.lonlat)
    assert scores.shape == (160, 1)
    assert np.isfinite(scores).all()


def test_trees_take_a_class_of_one_place_among_many():
    n = 10_050  # from 10,000 on scikit-learn would part them, and each class, to stop early
    x = np.arange(n)[:, None] % 2.0
    target = np.r_[2, x[1:, 0].astype(np.int64)]
    many = Labels(np.zeros((n, 2)), target, 3, x, np.arange(n))
    scores = Boosting().fit(many, np.arange(n), 0.0)(x[:2], many.lonlat[:2])
    assert scores.argmax(1).tolist() == [0, 1]
