"""Chebyshev series of a Siren's first layer on patches of the globe: fast for scattered places.

Before its sine the first layer is a combination of harmonics below degree L, so it varies slowly
within a patch of a few degrees: 153 terms there say what the L² harmonics say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from satclip_explore.encoders.spherical_harmonics import trigonometric_rows

HALF_WIDTH = 4.0
"""Half the side of a patch times L - 1: how far the finest harmonic turns in it, in radians."""

DEGREES = 17
"""Chebyshev degrees i + j < 17 in latitude and longitude: what is cut off stays below 3e-7 of the
field, most of it in the wide sectors at the poles; 15 leave 3e-6."""

MAX_BYTES = 256 * 2**20
"""Largest table that is kept: 110 MB at L = 40 and 512 units, and it grows with L²."""

NEGLIGIBLE = 1e-15
"""Factors below this become zero, so that no product of two is subnormal, which is slow."""


class PatchSeries:
    """The phases of a first layer, tabulated on patches; a band of latitude when it is first asked.

    Parameters
    ----------
    rows : callable
        Takes latitudes, shape (N,), float64, in degrees, and returns the layer contracted over
        degrees, shape (N, 2L-1, hidden): factors of `trigonometric_rows`.
    legendre_polys : int
        Number of degrees L, at least 2.
    harmonics_calculation : {"analytic", "closed-form"}
        Convention of the trigonometric factors.
    hidden_dim : int
        Units of the layer.
    """

    def __init__(
        self,
        rows: Callable[[torch.Tensor], torch.Tensor],
        legendre_polys: int,
        harmonics_calculation: str,
        hidden_dim: int,
    ) -> None:
        self._rows = rows
        self._legendre_polys = legendre_polys
        self._harmonics_calculation = harmonics_calculation
        self._hidden_dim = hidden_dim
        self._tables: dict[int, torch.Tensor] = {}
        self.sectors = sectors_per_band(legendre_polys)
        self.first = torch.cumsum(self.sectors, 0) - self.sectors
        angle = math.pi * (torch.arange(DEGREES, dtype=torch.float64) + 0.5) / DEGREES
        self._nodes = torch.cos(angle)
        self._fit = chebyshev(self._nodes) * (2.0 / DEGREES)
        self._fit[0] /= 2.0

    def sort(self, lonlat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sort places by patch.

        Parameters
        ----------
        lonlat : torch.Tensor, shape (N, 2), float64
            Degrees, longitude first, already checked and wrapped.

        Returns
        -------
        order : torch.Tensor, shape (N,)
            Which place comes where.
        patch : torch.Tensor, shape (N,)
            Patch of each place, ascending.
        inside : torch.Tensor, shape (2, N), float64
            Latitude and longitude within the patch, in [-1, 1].
        """
        lon, lat = lonlat.unbind(1)
        # At a pole all longitudes are one place.
        lon = torch.where(lat.abs() == 90.0, 0.0, lon)
        bands = len(self.sectors)
        y = (lat + 90.0) * (bands / 180.0)
        band = y.long().clamp_(max=bands - 1)
        sectors = self.sectors[band]
        x = (lon + 180.0) / 360.0 * sectors
        sector = torch.minimum(x.long(), sectors - 1)
        patch, order = torch.sort(self.first[band] + sector, stable=True)
        inside = torch.stack([y - band, x - sector])[:, order]
        return order, patch, 2.0 * inside - 1.0

    def phases(self, patch: torch.Tensor, inside: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Evaluate the layer before its sine for places sorted by patch; see `sort`.

        Parameters
        ----------
        patch : torch.Tensor, shape (N,)
            Ascending.
        inside : torch.Tensor, shape (2, N), float64
            Latitude and longitude within the patch.
        out : torch.Tensor, shape (N, hidden), float32
            Receives the phases, in radians.
        """
        # In float32 the recurrence would lose 1e-5 at the edges of a patch.
        south_north, west_east = (chebyshev(axis).T.float().contiguous() for axis in inside)
        terms = torch.cat(
            [south_north[:, i, None] * west_east[:, : DEGREES - i] for i in range(DEGREES)], dim=1
        )
        for number, start, stop in _runs(patch):
            torch.mm(terms[start:stop], self._table(number), out=out[start:stop])
        return out

    def _table(self, patch: int) -> torch.Tensor:
        """Return the coefficients of one patch, shape (terms, hidden), float32."""
        band = int(torch.searchsorted(self.first, patch, right=True)) - 1
        if band not in self._tables:
            self._tables[band] = self._tabulate(band)
        return self._tables[band][patch - int(self.first[band])]

    def _tabulate(self, band: int) -> torch.Tensor:
        """Fit the series of every sector of a band: (sectors, terms, hidden), float32."""
        bands, sectors = len(self.sectors), int(self.sectors[band])
        lat = (band + 0.5 + self._nodes / 2.0) * (180.0 / bands) - 90.0
        rows = self._rows(lat)
        by_degree = (self._fit @ rows.flatten(1).double()).reshape(rows.shape)
        centers = torch.arange(sectors, dtype=torch.float64)[:, None] + 0.5
        lon = (centers + self._nodes / 2.0) * (360.0 / sectors) - 180.0
        trig = trigonometric_rows(lon.flatten(), self._legendre_polys, self._harmonics_calculation)
        # Degrees first: the triangle i + j < DEGREES is then a run of rows for each i.
        trig = self._fit @ trig.reshape(-1, sectors, DEGREES).permute(1, 2, 0)
        trig = trig.transpose(0, 1).flatten(0, 1)
        trig, by_degree = (
            torch.nn.functional.hardshrink(factor, NEGLIGIBLE).float()
            for factor in (trig, by_degree)
        )
        table = torch.empty(sectors, n_terms(), self._hidden_dim)
        start = 0
        for i in range(DEGREES):
            count = DEGREES - i
            product = trig[: count * sectors] @ by_degree[i]
            table[:, start : start + count] = product.unflatten(0, (count, sectors)).transpose(0, 1)
            start += count
        return table


def sectors_per_band(legendre_polys: int) -> torch.Tensor:
    """Cut the globe into bands of equal height and those into sectors about as wide: (bands,)."""
    side = 2.0 * math.degrees(HALF_WIDTH / (legendre_polys - 1))
    bands = math.ceil(180.0 / side)
    edges = torch.linspace(-90.0, 90.0, bands + 1, dtype=torch.float64)
    widest = torch.minimum(edges[:-1].abs(), edges[1:].abs())
    widest[edges[:-1] * edges[1:] < 0.0] = 0.0
    return torch.ceil(360.0 * torch.cos(torch.deg2rad(widest)) / side).long().clamp_(min=3)


def n_terms() -> int:
    """Count the terms of a patch."""
    return DEGREES * (DEGREES + 1) // 2


def pays(legendre_polys: int, hidden_dim: int) -> bool:
    """Tell whether the series has far fewer terms than the harmonics, and a table that fits."""
    if legendre_polys**2 < 4 * n_terms():
        return False
    patches = int(sectors_per_band(legendre_polys).sum())
    return patches * n_terms() * hidden_dim * 4 <= MAX_BYTES


def chebyshev(x: torch.Tensor) -> torch.Tensor:
    """Evaluate the Chebyshev polynomials of `x`, shape (N,), in [-1, 1]: (DEGREES, N)."""
    rows = [torch.ones_like(x), x]
    for _ in range(DEGREES - 2):
        rows.append(2.0 * x * rows[-1] - rows[-2])
    return torch.stack(rows)


def _runs(values: torch.Tensor) -> Iterator[tuple[int, int, int]]:
    """Yield (value, start, stop) for each run of equal values."""
    unique, counts = torch.unique_consecutive(values, return_counts=True)
    start = 0
    for value, count in zip(unique.tolist(), counts.tolist(), strict=True):
        yield value, start, start + count
        start += count
