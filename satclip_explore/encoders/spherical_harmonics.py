"""Real spherical harmonics by a stable recurrence, in both published conventions.

Everything is float64: the tables that SatCLIP's authors publish lose their digits at high degree
(off by up to 0.6 near the poles at L = 40); this recurrence keeps 1e-13.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch

TINY = 1e-30
"""Legendre values below this become zero: near the poles the high orders vanish, and as float32
they would be subnormal, which slows a matrix product two to four times."""

FEW_PLACES, FEW_DEGREES = 64, 64
"""Up to here a product with Fourier coefficients is faster than the recurrence, whose hundreds of
small steps a single place waits for; it differs by 2e-13."""

HARMONICS_CALCULATIONS = ("analytic", "closed-form")


def real_spherical_harmonics(
    lonlat: torch.Tensor,
    legendre_polys: int,
    *,
    harmonics_calculation: str = "analytic",
) -> torch.Tensor:
    """Evaluate the real spherical harmonics used by SatCLIP.

    Columns run over degree l = 0 … L-1 and, within each, order m = -l … l,
    so column l² + l + m is Y_lm.

    Parameters
    ----------
    lonlat : torch.Tensor, shape (N, 2)
        Longitude and latitude in degrees.
    legendre_polys : int
        Number of degrees L, at least 1. Resolution is about 180 / (L - 1) degrees.
    harmonics_calculation : {"analytic", "closed-form"}
        Which published convention to follow. They differ in sign for odd m
        and by a factor of pi for m = 0; weights only fit their own.

    Returns
    -------
    torch.Tensor, shape (N, L²), float64
        Dimensionless. Differentiable, with finite gradients at the poles.

    Raises
    ------
    ValueError
        If `lonlat` is not (N, 2), a latitude is outside [-90, 90], L is below 1, or
        `harmonics_calculation` is unknown.

    Notes
    -----
    The polar angle is lat + 90, from the south pole, and longitude is shifted
    by 180 degrees. Unusual, and kept because the published weights expect it.

    References
    ----------
    Rußwurm et al. (2024), "Geographic Location Encoding with Spherical
    Harmonics and Sinusoidal Representation Networks", ICLR.

    Examples
    --------
    >>> y = real_spherical_harmonics(torch.tensor([[0.0, 0.0]]), legendre_polys=10)
    >>> y.shape, round(y[0, 0].item(), 4)
    (torch.Size([1, 100]), 0.8862)
    """
    if lonlat.ndim != 2 or lonlat.shape[1] != 2:
        raise ValueError(
            f"lonlat must have shape (N, 2), longitude first; got {tuple(lonlat.shape)}."
        )
    if not bool((lonlat[:, 1].abs() <= 90.0).all()):
        raise ValueError("latitude must lie in [-90, 90] degrees. Longitude comes first.")
    return harmonics_by_feature(lonlat, legendre_polys, harmonics_calculation).T


def harmonics_by_feature(
    lonlat: torch.Tensor, legendre_polys: int, harmonics_calculation: str
) -> torch.Tensor:
    """Evaluate the harmonics with places along the last axis: the layout the matrix product wants.

    Parameters
    ----------
    lonlat : torch.Tensor, shape (N, 2)
        Degrees, longitude first, already checked.
    legendre_polys : int
        Number of degrees L.
    harmonics_calculation : {"analytic", "closed-form"}
        As in `real_spherical_harmonics`.

    Returns
    -------
    torch.Tensor, shape (L², N), float64
        Row l² + l + m is Y_lm.
    """
    trig = trigonometric_rows(lonlat[:, 0], legendre_polys, harmonics_calculation)
    few = len(lonlat) <= FEW_PLACES and legendre_polys <= FEW_DEGREES
    rows = _padded_rows_of_few if few else _padded_rows
    legendre = rows(lonlat[:, 1], legendre_polys)
    legendre_index, trig_index = _row_indices(legendre_polys, lonlat.device)
    return legendre[legendre_index] * trig[trig_index]


def trigonometric_rows(
    lon: torch.Tensor, legendre_polys: int, harmonics_calculation: str
) -> torch.Tensor:
    """Evaluate the factors of longitude, with the sign and scale of the convention.

    Parameters
    ----------
    lon : torch.Tensor, shape (N,)
        Longitudes in degrees.
    legendre_polys : int
        Number of degrees L.
    harmonics_calculation : {"analytic", "closed-form"}
        As in `real_spherical_harmonics`.

    Returns
    -------
    torch.Tensor, shape (2L-1, N), float64
        cos(m·lon) for m = 0 … L-1, then sin(m·lon) for m = 1 … L-1, each times `order_scale`.
    """
    scale = order_scale(legendre_polys, harmonics_calculation).to(lon.device)[:, None]
    orders = torch.arange(legendre_polys, dtype=torch.float64, device=lon.device)
    angle = orders[:, None] * torch.deg2rad(lon.to(torch.float64))
    return torch.cat([torch.cos(angle) * scale, torch.sin(angle[1:]) * scale[1:]])


@lru_cache(maxsize=16)
def _row_indices(legendre_polys: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Say, for each Y_lm, which Legendre row and which trigonometric row it multiplies."""
    degrees = torch.arange(legendre_polys, device=device).repeat_interleave(
        2 * torch.arange(legendre_polys, device=device) + 1
    )
    orders = torch.arange(legendre_polys**2, device=device) - degrees * (degrees + 1)
    legendre_index = degrees * (degrees + 3) // 2 + orders.abs()
    trig_index = torch.where(orders >= 0, orders, legendre_polys - 1 - orders)
    return legendre_index, trig_index


def order_scale(legendre_polys: int, harmonics_calculation: str) -> torch.Tensor:
    """Give the factor of each order m that turns a normalized P_lm · trig(m·lon) into Y_lm.

    Parameters
    ----------
    legendre_polys : int
        Number of degrees L, at least 1.
    harmonics_calculation : {"analytic", "closed-form"}
        The published convention.

    Returns
    -------
    torch.Tensor, shape (L,), float64
        √2 for m ≠ 0, with the signs and factors of the convention.

    Raises
    ------
    ValueError
        If L is below 1 or the convention is unknown.
    """
    if legendre_polys < 1:
        raise ValueError(f"legendre_polys must be at least 1; got {legendre_polys}.")
    if harmonics_calculation not in HARMONICS_CALCULATIONS:
        raise ValueError(
            "harmonics_calculation must be 'analytic' or 'closed-form'; "
            f"got {harmonics_calculation!r}."
        )
    sign = (-1.0) ** torch.arange(legendre_polys, dtype=torch.float64)
    # cos(m(lon + 180°)) = (-1)^m cos(m·lon): shifting by sign keeps lon = 0 exact.
    scale = math.sqrt(2.0) * sign
    if harmonics_calculation == "closed-form":
        scale = scale * sign  # the Condon-Shortley phase
        scale[0] = 1.0
    else:
        # The published generator writes sqrt((2l+1)/4·π) for m = 0 where the orthonormal factor is
        # sqrt((2l+1)/(4π)): π times too large. The weights were learned on it.
        scale[0] = math.pi
    return scale


def legendre_rows(lat: torch.Tensor, legendre_polys: int) -> list[torch.Tensor]:
    """Evaluate the orthonormal associated Legendre functions, one degree after another.

    Parameters
    ----------
    lat : torch.Tensor, shape (N,)
        Latitudes in degrees.
    legendre_polys : int
        Number of degrees L.

    Returns
    -------
    list of torch.Tensor
        Item l has shape (l + 1, N), float64: P_lm(cos θ) for m = 0 … l with θ = lat + 90°,
        normalized so that P_lm · e^{imφ} is orthonormal on the sphere; no Condon-Shortley sign.

    References
    ----------
    Holmes & Featherstone (2002), "A unified approach to the Clenshaw summation and the recursive
    computation of very high degree and order normalised associated Legendre functions",
    Journal of Geodesy 76, eq. 11-13.
    """
    padded = _padded_rows(lat, legendre_polys)
    return [rows[:-1] for rows in padded.split([l + 2 for l in range(legendre_polys)])]


def _padded_rows(lat: torch.Tensor, legendre_polys: int) -> torch.Tensor:
    """Evaluate `legendre_rows` one below the other, each degree with a row of zeros after it.

    With the zero the recurrence is the same for all orders.
    """
    lat = lat.to(torch.float64)
    x = -torch.sin(torch.deg2rad(lat))  # cos θ, polar angle from the south pole
    # sin θ from the distance to the pole: √(1 − x²) would lose half of the digits there.
    s = torch.sin(torch.deg2rad(90.0 - lat.abs()))
    a, ab, sectoral = _coefficients(legendre_polys, lat.device)
    first = torch.full_like(lat, math.sqrt(0.25 / math.pi))[None]
    diagonal = torch.cat([first, sectoral * s]).cumprod(0)
    zero = torch.zeros_like(first)
    ends = torch.stack([diagonal, zero.expand_as(diagonal)], dim=1).unbind()
    rows = [zero, ends[0]]
    for l in range(1, legendre_polys):
        row = torch.addcmul(ab[l] * rows[-2], a[l], x * rows[-1][:-1])
        rows.append(torch.cat([row, ends[l]]))
    return torch.nn.functional.hardshrink(torch.cat(rows[1:]), TINY)


def _padded_rows_of_few(lat: torch.Tensor, legendre_polys: int) -> torch.Tensor:
    """Evaluate `_padded_rows` by their Fourier series in the polar angle."""
    orders = torch.arange(legendre_polys, dtype=torch.float64, device=lat.device)[:, None]
    angle = orders * torch.deg2rad(lat.to(torch.float64) + 90.0)
    coefficients = _fourier_coefficients(legendre_polys, lat.device)
    return coefficients @ torch.cat([torch.cos(angle), torch.sin(angle[1:])])


@lru_cache(maxsize=4)
def _fourier_coefficients(legendre_polys: int, device: torch.device) -> torch.Tensor:
    """Write P_lm as cosines of multiples of θ below L for even m, as sines for odd m.

    Exact, by orthogonality of both on L midpoints: shape (rows, 2L-1), float64.
    """
    L = legendre_polys
    k = torch.arange(L, dtype=torch.float64, device=device)
    midpoints = (k + 0.5) * (180.0 / L)
    rows = _padded_rows(midpoints - 90.0, L) * (2.0 / L)
    angle = torch.deg2rad(midpoints)[:, None] * k
    cosines, sines = rows @ torch.cos(angle), rows @ torch.sin(angle[:, 1:])
    cosines[:, 0] /= 2.0
    odd = torch.cat([torch.arange(l + 2, device=device) % 2 == 1 for l in range(L)])
    cosines[odd], sines[~odd] = 0.0, 0.0
    return torch.cat([cosines, sines], dim=1)


def harmonics_tables(legendre_polys: int) -> tuple[Any, Any, Any, Any, Any]:
    """Return what the recurrence multiplies with, for writers of graphs.

    Returns
    -------
    a, ab : list of numpy.ndarray, shape (l, 1)
        For each degree l: a_lm and -a_lm·b_lm.
    sectoral : numpy.ndarray, shape (L-1, 1)
        Of the diagonal m = l.
    legendre_index, trig_index : numpy.ndarray, shape (L²,)
        Which rows make each Y_lm, as `harmonics_by_feature` gathers them.
    """
    device = torch.device("cpu")
    a, ab, sectoral = _coefficients(legendre_polys, device)
    legendre_index, trig_index = _row_indices(legendre_polys, device)
    return (
        [row.numpy() for row in a],
        [row.numpy() for row in ab],
        sectoral.numpy(),
        legendre_index.numpy(),
        trig_index.numpy(),
    )


@lru_cache(maxsize=16)
def _coefficients(
    legendre_polys: int, device: torch.device
) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Tabulate the recurrence: a_lm and -a_lm·b_lm, (l, 1) for each l, and (L-1, 1) for m = l."""
    a, ab = [], []
    for l in range(legendre_polys):
        m = torch.arange(l, dtype=torch.float64, device=device)[:, None]
        a.append(torch.sqrt((4.0 * l * l - 1.0) / (l * l - m * m)))
        b = torch.sqrt(((l - 1.0) ** 2 - m**2) / (4.0 * (l - 1.0) ** 2 - 1.0))
        ab.append(-a[-1] * b)
    degrees = torch.arange(1, legendre_polys, dtype=torch.float64, device=device)[:, None]
    return a, ab, torch.sqrt((2.0 * degrees + 1.0) / (2.0 * degrees))
