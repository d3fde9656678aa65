"""Comparison of encoders against closed forms, plain sums and other libraries."""

from __future__ import annotations

import numpy as np
import pytest

from satclip_explore.comparison import (
    compare_encoders,
    linear_cka,
    nearest_rows,
    shared_neighbors,
)
from satclip_explore.embedding_geometry import (
    covariance_spectrum,
    half_variance_km,
    participation_ratio,
    semivariogram,
    two_nn_dimension,
    unit_length,
)
from satclip_explore.encoders.custom import from_callable
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import EARTH_RADIUS_KM, equal_area_sample, great_circle_km, unit_vectors


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def rotation(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def overlap(x, y, n_neighbors):
    return shared_neighbors(*(nearest_rows(unit_length(z), n_neighbors) for z in (x, y)))


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_does_not_see_rotation_shift_and_one_scale(rng, debiased):
    x = rng.standard_normal((300, 7)) * np.arange(1, 8)
    y = 1e6 * x @ rotation(rng, 7) + rng.standard_normal(7)
    assert linear_cka(x, x, debiased=debiased) == pytest.approx(1.0, abs=1e-12)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(1.0, abs=1e-9)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(
        linear_cka(x, y, debiased=debiased), abs=1e-12
    )


def test_cka_sees_the_scale_of_single_directions(rng):
    x = rng.standard_normal((500, 2))
    # Variances 1, 1 against 1, s²: (1 + s²) / √(2 (1 + s⁴)); s = 3 gives 10 / √164.
    got = linear_cka(x, x * [1.0, 3.0])
    assert got == pytest.approx(10.0 / np.sqrt(164.0), abs=0.03)


def test_cka_of_unrelated_embeddings_is_zero_only_without_the_bias(rng):
    x, y = rng.standard_normal((2, 2000, 250))
    # The spread of the unbiased estimate is near 1 / N here, times a small factor.
    assert abs(linear_cka(x, y)) < 0.005
    assert linear_cka(x, y, debiased=False) == pytest.approx(250 / 2250, abs=0.01)


@pytest.mark.parametrize("widths", [(5, 9), (5, 90), (90, 70)])
def test_cka_equals_the_definitions_over_all_pairs(rng, widths):
    n = 40
    x, y = (rng.standard_normal((n, width)) for width in widths)
    x[:, :5] += y[:, :5]
    mean = np.eye(n) - 1.0 / n

    def plain(k, l):
        return np.trace(mean @ k @ mean @ l)

    def unbiased(k, l):
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
        one = np.ones(n)
        return (
            np.trace(k @ l)
            + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
            - 2.0 * (one @ k @ l @ one) / (n - 2)
        )

    k, l = x @ x.T, y @ y.T
    for debiased, product in ((False, plain), (True, unbiased)):
        expected = product(k, l) / np.sqrt(product(k, k) * product(l, l))
        # Sums of a few thousand terms in two orders.
        assert linear_cka(x, y, debiased=debiased) == pytest.approx(expected, abs=1e-11)


def test_neighbors_are_those_of_scikit_learn(rng):
    neighbors = pytest.importorskip("sklearn.neighbors")
    x, y = rng.standard_normal((2, 700, 12))
    y = y + 0.7 * x

    def sets(z):
        found = neighbors.NearestNeighbors(n_neighbors=11, metric="cosine").fit(z)
        return [set(row[1:]) for row in found.kneighbors(z, return_distance=False)]

    shared = [len(a & b) / 10 for a, b in zip(sets(x), sets(y), strict=True)]
    assert overlap(x, y, 10) == pytest.approx(np.mean(shared), abs=1e-12)
    assert overlap(x, 3.0 * x @ rotation(rng, 12), 10) == 1.0


def test_unrelated_embeddings_share_neighbors_by_chance(rng):
    x, y = rng.standard_normal((2, 1500, 20))
    # 15,000 draws with probability 0.0067: one standard deviation is 0.0007.
    assert overlap(x, y, 10) == pytest.approx(10 / 1499, abs=0.004)


def test_the_spectrum_is_that_of_the_covariance(rng):
    x = rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6))
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(covariance_spectrum(x), values / values.sum(), atol=1e-13)
    assert participation_ratio(covariance_spectrum(x)) == pytest.approx(
        values.sum() ** 2 / np.sum(values**2), rel=1e-9
    )
    wide = np.concatenate([x[:30], np.zeros((30, 50))], axis=1)
    spectrum = covariance_spectrum(wide)
    assert len(spectrum) == 30
    np.testing.assert_allclose(spectrum[:6], covariance_spectrum(x[:30]), atol=1e-12)


def test_the_participation_ratio_counts_directions(rng):
    x = rng.standard_normal((20_000, 8))
    # Eigenvalues of 20,000 samples scatter by √(8 / 20,000) = 2 %.
    assert participation_ratio(covariance_spectrum(x)) == pytest.approx(8.0, abs=0.05)
    assert participation_ratio(covariance_spectrum(x * np.eye(8)[0])) == pytest.approx(
        1.0, abs=1e-9
    )


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_intrinsic_dimension_is_that_of_the_surface_not_of_the_space(rng, dimension):
    x = rng.uniform(size=(3000, dimension))
    bent = np.concatenate([np.sin(x), np.cos(2.0 * x), x**2], axis=1) @ rotation(rng, 3 * dimension)
    # A slope from 2,700 ratios: 2 % by chance, and edges pull high dimensions down.
    assert two_nn_dimension(bent) == pytest.approx(dimension, rel=0.12)


def test_rows_that_occur_twice_do_not_spoil_the_dimension(rng):
    x = rng.uniform(size=(2000, 3))
    once = two_nn_dimension(x)
    assert two_nn_dimension(np.concatenate([x, x[:5]])) == pytest.approx(once, rel=0.02)
    with pytest.raises(ValueError, match="20 places that differ from their nearest; got 0 of 60"):
        two_nn_dimension(np.repeat(x[:20], 3, axis=0))


@pytest.mark.parametrize("measure", ["variance", "cosine"])
def test_the_semivariogram_of_the_unit_vector_is_one_minus_the_cosine_of_the_angle(measure):
    places = equal_area_sample(1500, seed=1)
    table = semivariogram(places, unit_vectors(places), measure=measure)
    # Half the squared chord is 1 - cos(angle); a bin's mean is not its middle: narrow bins agree.
    expected = 1.0 - np.cos(table["distance_km"] / EARTH_RADIUS_KM)
    fine = table["distance_km"] > 300.0
    # The sample's own mean, 0.026 long for 1,500 places, takes 0.001 off its variance.
    np.testing.assert_allclose(table["semivariance"][fine], expected[fine], rtol=0.03)
    assert table["semivariance"].iloc[-1] == pytest.approx(1.95, abs=0.05)


@pytest.mark.parametrize("measure", ["variance", "cosine"])
def test_the_semivariogram_equals_a_plain_loop_over_pairs(rng, measure):
    places = equal_area_sample(60, seed=2)
    x = rng.standard_normal((60, 4)) + 1.0
    edges = [0.0, 3000.0, 9000.0, np.pi * EARTH_RADIUS_KM]
    table = semivariogram(places, x, measure=measure, edges_km=edges)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = [[], [], []]
    for i in range(60):
        for j in range(i + 1, 60):
            distance = great_circle_km(places[i], places[j])
            value = (
                1.0 - unit[i] @ unit[j]
                if measure == "cosine"
                else 0.5 * np.sum((x[i] - x[j]) ** 2) / x.var(axis=0).sum()
            )
            found[int(np.searchsorted(edges, distance, side="right")) - 1].append((distance, value))
    assert table["pairs"].tolist() == [len(rows) for rows in found]
    assert table["pairs"].sum() == 60 * 59 / 2
    means = np.array([np.mean(rows, axis=0) for rows in found])
    np.testing.assert_allclose(table[["distance_km", "semivariance"]], means, rtol=1e-6)


def test_the_unit_vector_is_half_unlike_at_a_sixth_of_the_way_around():
    places = equal_area_sample(1500, seed=1)
    table = semivariogram(places, unit_vectors(places), edges_km=np.arange(0.0, 20_250.0, 250.0))
    # 1 - cos(angle) is one half at 60°.
    expected = np.pi / 3.0 * EARTH_RADIUS_KM
    assert half_variance_km(table) == pytest.approx(expected, rel=0.01)
    assert np.isnan(half_variance_km(table.iloc[60:]))
    assert np.isnan(half_variance_km(table.iloc[:5]))


def test_noise_is_unlike_at_every_distance(rng):
    places = equal_area_sample(800, seed=3)
    table = semivariogram(places, rng.standard_normal((800, 50)), edges_km=[0, 2000, 8000, 20_016])
    # 50 numbers, thousands of pairs that share places: the mean is within a percent of the sill.
    np.testing.assert_allclose(table["semivariance"], 1.0, atol=0.02)


def test_bins_without_pairs_are_left_out():
    places = [(0.01 * i, 0.0) for i in range(30)]
    table = semivariogram(places, np.arange(30.0)[:, None], edges_km=[0.0, 50.0, 1000.0])
    assert len(table) == 1
    assert table["pairs"].item() == 30 * 29 / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "euclid"}, "measure must be 'variance' or 'cosine'; got 'euclid'"),
        ({"edges_km": [5.0]}, "at least two increasing distances"),
        ({"edges_km": [0.0, 10.0, 10.0]}, "at least two increasing distances"),
        ({"edges_km": [-1.0, 10.0]}, "at least two increasing distances"),
        ({"lonlat": equal_area_sample(29)}, "one embedding per place; got 30 for 29 places"),
        ({"embeddings": np.eye(30)[:, 1:], "measure": "cosine"}, "not zero; row 0 is"),
    ],
)
def test_a_semivariogram_says_what_is_wrong_with_its_input(change, message):
    arguments = {"lonlat": equal_area_sample(30), "embeddings": np.eye(30)} | change
    with pytest.raises(ValueError, match=message):
        semivariogram(arguments.pop("lonlat"), arguments.pop("embeddings"), **arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((30, 3)) * 0.1, "must differ from place to place"),
        (np.eye(19), "at least 20 places; got \\(19, 19\\)"),
        (np.ones(30), "must have shape \\(N, D\\)"),
        (np.where(np.eye(30) > 0, np.nan, 1.0), "must be finite; row 0 is not"),
    ],
)
def test_embeddings_that_cannot_be_compared_get_one_sentence(x, message):
    for measure in (covariance_spectrum, two_nn_dimension, lambda x: linear_cka(x, np.eye(30))):
        with pytest.raises(ValueError, match=message):
            measure(x)


def test_the_same_places_are_needed_and_enough_of_them(rng):
    x = rng.standard_normal((30, 3))
    with pytest.raises(ValueError, match="need the same places; got 30 and 25"):
        linear_cka(x, x[:25])
    for wrong in (0, 29):
        with pytest.raises(ValueError, match=f"must lie in 1 … 28 for 30 places; got {wrong}"):
            nearest_rows(x, wrong)


def test_encoders_are_compared_on_the_places_that_all_of_them_cover():
    northern = from_callable(
        lambda lonlat: np.where(lonlat[:, 1:] > 0.0, unit_vectors(lonlat), np.nan), name="north"
    )
    seen = []
    found = compare_encoders(
        [load_encoder("xyz"), northern, load_encoder("harmonics-l5")],
        n_samples=600,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert 350 < found.places < 450
    assert seen == [(i, 9) for i in range(1, 10)]
    pairs = found.pairs.set_index(["first", "second"])
    # Single precision through the encoder: the same unit vectors twice.
    assert pairs.loc[("xyz", "north"), "cka"] == pytest.approx(1.0, abs=1e-5)
    assert pairs.loc[("xyz", "north"), "overlap"] > 0.99
    assert 0.0 < pairs.loc[("xyz", "harmonics-l5"), "cka"] < 0.9
    shapes = found.shapes.set_index("encoder")
    assert shapes["dim"].to_dict() == {"xyz": 3, "north": 3, "harmonics-l5": 25}
    assert shapes.loc["xyz", "intrinsic_dimension"] == pytest.approx(2.0, abs=0.25)
    assert (
        shapes.loc["harmonics-l5", "half_variance_km"]
        < 0.7 * shapes.loc["xyz", "half_variance_km"]
        < 5000
    )
    assert set(found.spectra) == set(found.variograms) == set(shapes.index)
    assert found.chance == pytest.approx(10 / (found.places - 1))
    assert "harmonics-l5" in found._repr_html_()


def test_encoders_that_cannot_be_compared_get_one_sentence():
    xyz = load_encoder("xyz")
    constant = from_callable(lambda lonlat: np.ones((len(lonlat), 2)), name="flat")
    nowhere = from_callable(lambda lonlat: np.full((len(lonlat), 2), np.nan), name="sea")
    with pytest.raises(ValueError, match="two or more encoders with different names"):
        compare_encoders([xyz])
    with pytest.raises(ValueError, match="different names"):
        compare_encoders([xyz, load_encoder("xyz")])
    with pytest.raises(ValueError, match="flat: embeddings must differ"):
        compare_encoders([xyz, constant], n_samples=100)
    with pytest.raises(ValueError, match="xyz, sea cover only 0 of 100"):
        compare_encoders([xyz, nowhere], n_samples=100)


def test_names_are_escaped_in_a_notebook():
    odd = from_callable(lambda lonlat: unit_vectors(lonlat) ** 3, name="<b>odd</b>")
    found = compare_encoders([load_encoder("xyz"), odd], n_samples=100)
    assert "<b>odd" not in found._repr_html_()


def test_a_table_of_few_vectors_has_no_intrinsic_dimension():
    halves = from_callable(lambda lonlat: np.sign(lonlat) + 0.5, name="halves")
    found = compare_encoders([load_encoder("xyz"), halves], n_samples=100)
    assert np.isnan(found.shapes.set_index("encoder").loc["halves", "intrinsic_dimension"])


def test_an_exception_in_progress_stops_the_comparison():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_encoders([load_encoder("xyz"), load_encoder("wrap")], n_samples=50, progress=stop)


def test_encoders_are_given_by_name_too():
    found = compare_encoders(["xyz", "lonlat"], n_samples=500)
    assert found.pairs.loc[0, ["first", "second"]].tolist() == ["xyz", "lonlat"]
