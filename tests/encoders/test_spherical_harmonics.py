import math

import numpy as np
import pytest
import torch

from satclip_explore.encoders.spherical_harmonics import (
    FEW_PLACES,
    legendre_rows,
    real_spherical_harmonics,
)


def harmonics(lonlat, legendre_polys, convention="closed-form"):
    lonlat = torch.as_tensor(np.asarray(lonlat, dtype=np.float64))
    return real_spherical_harmonics(lonlat, legendre_polys, harmonics_calculation=convention)


def places(n=50, seed=0):
    rng = np.random.default_rng(seed)
    lonlat = np.stack([rng.uniform(-180, 180, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))], 1)
    lonlat[:4] = [[10, 90], [10, -90], [-180, 20], [33, 89.9999]]
    return lonlat


def test_first_nine_harmonics_match_the_textbook():
    lonlat = places()
    phi, theta = np.radians(lonlat[:, 0] + 180), np.radians(lonlat[:, 1] + 90)
    x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    one, two = math.sqrt(3 / (4 * math.pi)), math.sqrt(15 / (4 * math.pi))
    expected = [
        np.full_like(x, math.sqrt(1 / (4 * math.pi))),
        -one * y,
        one * z,
        -one * x,
        two * x * y,
        -two * y * z,
        math.sqrt(5 / (16 * math.pi)) * (3 * z**2 - 1),
        -two * x * z,
        two / 2 * (x**2 - y**2),
    ]
    np.testing.assert_allclose(harmonics(lonlat, 3), np.stack(expected, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("legendre_polys", [10, 40, 100])
def test_closed_form_agrees_with_scipy(legendre_polys):
    special = pytest.importorskip("scipy.special")
    lonlat = places()
    phi, theta = np.radians(lonlat[:, 0] + 180), np.radians(lonlat[:, 1] + 90)
    ours = harmonics(lonlat, legendre_polys).numpy()
    for l in range(legendre_polys):
        for m in range(l + 1):
            reference = special.sph_harm_y(l, m, theta, phi)
            factor = math.sqrt(2) if m else 1.0
            # SciPy's own error grows with degree; 1e-11 bounds both at L = 100.
            column = ours[:, l * l + l + m]
            np.testing.assert_allclose(column, factor * reference.real, rtol=0, atol=1e-11)
            if m:
                column = ours[:, l * l + l - m]
                np.testing.assert_allclose(column, factor * reference.imag, rtol=0, atol=1e-11)


def test_closed_form_is_orthonormal_under_quadrature():
    legendre_polys = 12
    nodes, weights = np.polynomial.legendre.leggauss(2 * legendre_polys)
    lon = np.arange(4 * legendre_polys) * 360 / (4 * legendre_polys) - 180
    lat = np.degrees(np.arcsin(nodes))
    lonlat = np.stack([g.ravel() for g in np.meshgrid(lon, lat)], 1)
    y = harmonics(lonlat, legendre_polys).numpy()
    weights = np.repeat(weights, len(lon)) * 2 * np.pi / len(lon)
    gram = (y * weights[:, None]).T @ y
    np.testing.assert_allclose(gram, np.eye(legendre_polys**2), rtol=0, atol=1e-13)


def test_analytic_differs_from_closed_form_by_pi_and_by_the_sign_of_odd_orders():
    legendre_polys = 8
    analytic = harmonics(places(), legendre_polys, "analytic")
    closed = harmonics(places(), legendre_polys, "closed-form")
    for l in range(legendre_polys):
        for m in range(-l, l + 1):
            factor = math.pi if m == 0 else (-1.0) ** m
            column = l * l + l + m
            torch.testing.assert_close(
                analytic[:, column], factor * closed[:, column], rtol=1e-13, atol=1e-13
            )


def test_the_antimeridian_is_one_meridian():
    west, east = harmonics([[-180.0, 37.0]], 40), harmonics([[180.0, 37.0]], 40)
    torch.testing.assert_close(west, east, rtol=0, atol=1e-12)


def test_addition_theorem_holds_at_the_poles_and_everywhere():
    y = harmonics(places(), 100)
    power = (y**2).sum(1)
    torch.testing.assert_close(
        power, torch.full_like(power, 100**2 / (4 * math.pi)), rtol=1e-12, atol=0
    )


def test_features_are_float64_and_gradients_are_finite_at_the_poles():
    lonlat = torch.tensor([[10.0, 90.0], [10.0, -90.0], [0.0, 0.0]], requires_grad=True)
    y = real_spherical_harmonics(lonlat, 40)
    assert y.dtype == torch.float64
    y.sum().backward()
    assert torch.isfinite(lonlat.grad).all()


@pytest.mark.parametrize("legendre_polys", [1, 2, 10, 40, 64])
def test_few_places_give_what_they_give_among_many(legendre_polys):
    """Few take Fourier series, many the recurrence."""
    lat = torch.cat([torch.tensor([-90.0, 90.0, 0.0, 89.9999]), torch.linspace(-89, 89, 96)])
    lonlat = torch.stack([torch.linspace(-180, 180, 100), lat], 1).double()
    many = real_spherical_harmonics(lonlat, legendre_polys)
    few = [real_spherical_harmonics(part, legendre_polys) for part in lonlat.split(1)]
    torch.testing.assert_close(torch.cat(few), many, rtol=0, atol=1e-12)
    assert len(lonlat) > FEW_PLACES


def test_legendre_rows_have_one_row_per_order():
    rows = legendre_rows(torch.zeros(3), 5)
    assert [tuple(row.shape) for row in rows] == [(l + 1, 3) for l in range(5)]


@pytest.mark.parametrize(
    ("lonlat", "legendre_polys", "convention", "sentence"),
    [
        (np.zeros((2, 3)), 3, "analytic", r"shape \(N, 2\)"),
        ([[0.0, 90.1]], 3, "analytic", "latitude"),
        ([[0.0, -90.1]], 3, "analytic", "latitude"),
        ([[0.0, np.nan]], 3, "analytic", "latitude"),
        ([[0.0, 0.0]], 0, "analytic", "at least 1"),
        ([[0.0, 0.0]], 3, "discretized", "'analytic' or 'closed-form'"),
    ],
)
def test_wrong_arguments_are_refused(lonlat, legendre_polys, convention, sentence):
    with pytest.raises(ValueError, match=sentence):
        harmonics(lonlat, legendre_polys, convention)
