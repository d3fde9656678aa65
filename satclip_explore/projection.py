"""Principal components as colors: fitted once for the globe, then applied to any view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.atlas import load_atlas
from satclip_explore.checks import known_keywords, real_number, whole_number
from satclip_explore.encoders.base import LocationEncoder, Readout
from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics
from satclip_explore.fields import Progress, as_field, check_memory, collect, iter_rows, view
from satclip_explore.geo import GLOBE, Bounds, Grid
from satclip_explore.html_view import facts_table
from satclip_explore.precision import fast_precision
from satclip_explore.store import RESULTS


@dataclass(frozen=True)
class Projection:
    """Directions in an encoder's embeddings over land, and how they are shown as colors.

    Parameters
    ----------
    mean : numpy.ndarray, shape (D,)
        Mean embedding of the sample.
    components : numpy.ndarray, shape (n, D)
        Those of `fit_pca` are orthonormal, by falling variance; the entry largest in size is
        positive, so that colors do not flip between machines.
    explained : numpy.ndarray, shape (n,)
        Share of the variance that each component holds, or accounts for.
    low, high : numpy.ndarray, shape (n,)
        Scores shown as 0 and as 255.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def _repr_html_(self) -> str:
        return facts_table(
            f"{len(self.explained)} principal components of {len(self.mean)} numbers",
            {
                f"PC{row + 1}": f"{share:.1%} of the variance, shown from {low:.3g} to {high:.3g}"
                for row, (share, low, high) in enumerate(
                    zip(self.explained, self.low, self.high, strict=True)
                )
            },
        )

    def scores(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """Project embeddings, shape (N, D), onto the components: (N, n), float64."""
        return (np.asarray(embeddings, dtype=np.float64) - self.mean) @ self.components.T

    def select(self, rows: Sequence[int]) -> Projection:
        """Keep some components, counted from 0, in the order given; one may come twice."""
        rows = list(rows)
        return Projection(
            self.mean, self.components[rows], self.explained[rows], self.low[rows], self.high[rows]
        )

    def readout(self) -> Readout:
        """Give the linear map from an embedding to color values, 0 to 255 before clipping."""
        scale = 255.0 / (self.high - self.low)
        weight = scale[:, None] * self.components
        return Readout(weight, -weight @ self.mean - scale * self.low)

    def colors(self, embeddings: NDArray[Any]) -> NDArray[np.uint8]:
        """Color embeddings, shape (N, D): (N, n), uint8."""
        readout = self.readout()
        embeddings = np.asarray(embeddings, dtype=np.float64)
        return _to_uint8(embeddings @ readout.weight.T + readout.bias)


def fit_pca(
    encoder: LocationEncoder,
    n_components: int = 3,
    *,
    stretch: float = 1.0,
    n_samples: int = 10_000,
    smooth_degrees: int = 0,
) -> Projection:
    """Fit principal components on an equal-area sample of land.

    An embedding that varies most with latitude shows little else in its first components. Those of
    the detail are the directions in which embeddings vary most once what harmonics of low degree
    tell of them is taken away.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder; places without coverage are left out.
    n_components : int
        Number of components n, from 1 to the embedding's dimension.
    stretch : float
        Percentage of the sample clipped at each end of the color scale, from 0 to below 50.
    n_samples : int
        Places of the embedded atlas to use, at most all of them.
    smooth_degrees : int
        Number of degrees L of the harmonics taken away, 0 to 20; 0 takes nothing away, 6 what
        changes over some 4,000 km and more. `explained` is then of what is left.

    Returns
    -------
    Projection
        The same object for the same encoder and settings.

    Raises
    ------
    ValueError
        If a setting is out of range, fewer covered places than components remain, or all
        embeddings are the same.
    """
    whole_number(n_components, "n_components", 1, encoder.embed_dim)
    whole_number(n_samples, "n_samples", 1, 20_000)
    whole_number(smooth_degrees, "smooth_degrees", 0, 20)
    if not 0.0 <= real_number(stretch, "stretch") < 50.0:
        raise ValueError(f"stretch must be a percentage from 0 to below 50; got {stretch}.")
    key = ("pca", encoder, n_components, stretch, n_samples, smooth_degrees)
    return RESULTS.get(
        key, lambda: _fit_pca(encoder, n_components, stretch, n_samples, smooth_degrees)
    )


def _fit_pca(
    encoder: LocationEncoder,
    n_components: int,
    stretch: float,
    n_samples: int,
    smooth_degrees: int,
) -> Projection:
    lonlat = load_atlas().lonlat[:n_samples]
    embeddings = encoder.embed(lonlat).astype(np.float64)
    covered = np.isfinite(embeddings).all(axis=1)
    lonlat, embeddings = lonlat[covered], embeddings[covered]
    if len(embeddings) <= n_components + smooth_degrees**2:
        raise ValueError(
            f"{encoder.name} covers {len(embeddings)} of the sampled land places: too few for "
            f"{n_components} components."
        )
    mean = embeddings.mean(axis=0)
    centered = embeddings - mean
    # What rounding of the mean leaves over is no difference.
    if not np.abs(centered).max() > 1e-12 * np.abs(embeddings).max():
        raise ValueError(f"{encoder.name} must differ from place to place; all rows are the same.")
    varying = centered - _smooth_part(centered, lonlat, smooth_degrees)
    variance, vectors = np.linalg.eigh(varying.T @ varying / len(varying))
    components = vectors.T[::-1][:n_components]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(n_components), largest])
    components = np.ascontiguousarray(components * signs[:, None])
    explained = variance[::-1][:n_components] / variance.sum()
    low, high = np.percentile(centered @ components.T, [stretch, 100.0 - stretch], axis=0)
    return Projection(mean, components, explained, low, np.maximum(high, low + 1e-12))


def _smooth_part(
    values: NDArray[np.float64], lonlat: NDArray[np.float64], degrees: int
) -> NDArray[np.float64] | float:
    """Fit harmonics of a number of degrees to values (N, D) at places: (N, D), or 0 for none."""
    if not degrees:
        return 0.0
    harmonics = real_spherical_harmonics(torch.tensor(lonlat), degrees).numpy()
    basis = np.linalg.qr(harmonics)[0]
    return basis @ (basis.T @ values)


@known_keywords
def pca_raster(
    encoder: LocationEncoder,
    resolution: float = 0.25,
    bounds: Bounds = GLOBE,
    n_components: int = 3,
    *,
    region: Any = None,
    grid: Grid | None = None,
    projection: Projection | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
) -> xr.DataArray:
    """Paint a view of the Earth in the principal components of its embeddings.

    The components and the color stretch are fitted once on land over the whole globe: a place
    keeps its color in every view.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    resolution : float
        Pixel size in degrees.
    bounds : tuple of float
        (lon_min, lat_min, lon_max, lat_max) in degrees; lon_min above lon_max crosses the
        antimeridian.
    n_components : int
        Bands; three make a picture.
    region : str, sequence, mapping, geometry or Region, optional
        In place of bounds; see `region`. Pixels outside are 0.
    grid : Grid, optional
        The pixels themselves, in place of resolution and bounds.
    projection : Projection, optional
        Components to use in place of `fit_pca(encoder, n_components)`.
    precision : {"auto", "float32", "float64", "bfloat16"}
        Arithmetic. "auto" takes bfloat16 for a float32 encoder where this machine computes it
        faster, and the encoder's own otherwise; colors stay within 2 of 255.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    xarray.DataArray, dims (lat, lon, band), shape (H, W, n), uint8
        Bands are named pc1, pc2, …; 0 without coverage and outside of the region.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    grid, inside = view(resolution, bounds, region, grid)
    projection = projection or fit_pca(encoder, n_components)
    check_memory(grid, len(projection.explained), 1)
    values = pca_colors(encoder, grid, projection, precision=precision, progress=progress)
    values[~inside] = 0
    field = as_field(values, grid, encoder, "band")
    field = field.assign_coords(band=[f"pc{i + 1}" for i in range(values.shape[-1])])
    # NetCDF 3, which SciPy writes, has no unsigned bytes.
    field.encoding = {"dtype": "int16"}
    return field


def pca_colors(
    encoder: LocationEncoder,
    grid: Grid,
    projection: Projection,
    *,
    precision: str | None = "auto",
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Encode a grid in principal components, as bare numbers; see `pca_raster`.

    Returns
    -------
    numpy.ndarray, shape (H, W, n), uint8
        Row 0 in the north.
    """
    blocks = pca_rows(encoder, grid, projection, precision=precision, progress=progress)
    return collect(((rows, color_bytes(block)) for rows, block in blocks), grid)


def pca_rows(
    encoder: LocationEncoder,
    grid: Grid,
    projection: Projection,
    *,
    precision: str | None = "auto",
    progress: Progress | None = None,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Encode a grid some rows at a time: color values before they are rounded and clipped."""
    if precision == "auto":
        precision = fast_precision(str(encoder.device)) if encoder.dtype == torch.float32 else ""
    return iter_rows(
        encoder, grid, projection.readout(), precision=precision or None, progress=progress
    )


def color_bytes(values: torch.Tensor) -> torch.Tensor:
    """Round to 0 … 255 and keep one byte; NaN becomes 0."""
    return values.float().nan_to_num_(nan=0.0).round_().clamp_(0.0, 255.0).to(torch.uint8)


def _to_uint8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.nan_to_num(values).round().clip(0.0, 255.0).astype(np.uint8)
