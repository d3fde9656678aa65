"""Vectors on a regular grid, bilinear between the four around a place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.torch_files import weights_hash
from satclip_explore.geo import as_lonlat


class GridTable(LocationEncoder):
    """Vectors on a regular grid, bilinear between the four around a place.

    Half a cell beyond the outermost centers the edge is continued; farther out, places are NaN.
    A grid that goes around the globe is joined at the antimeridian.

    Parameters
    ----------
    lon, lat : array_like, shapes (W,), (H,)
        Centers in degrees, evenly spaced; longitude increasing, latitude either way.
    vectors : array_like, shape (H, W, D)
        NaN where nothing is known.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than two rows or columns, or the spacing is uneven.
    """

    family = "table"

    def __init__(
        self,
        lon: ArrayLike,
        lat: ArrayLike,
        vectors: ArrayLike,
        *,
        name: str = "table",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        values = np.asarray(vectors)
        columns, rows = (np.asarray(axis, dtype=np.float64) for axis in (lon, lat))
        if values.ndim != 3 or values.shape[:2] != (rows.size, columns.size):
            raise ValueError(
                f"vectors must have shape (lat, lon, embed) = ({rows.size}, {columns.size}, D); "
                f"got {values.shape}."
            )
        if rows[0] > rows[-1]:
            rows, values = rows[::-1], values[::-1]
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self._lon, self._lat = (_axis(columns, "lon"), _axis(rows, "lat"))
        self._around = columns.size * self._lon[1] > 360.0 - self._lon[1] / 2
        self.embed_dim = values.shape[2]
        self._vectors = torch.from_numpy(np.ascontiguousarray(values)).to(self.device, self.dtype)
        self.weights_hash = weights_hash({"vectors": self._vectors})

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places get numbers; see `LocationEncoder.coverage`."""
        places = torch.from_numpy(as_lonlat(lonlat)).to(self.device)
        known = [self.encode(chunk).isfinite().all(dim=1) for chunk in places.split(4096)]
        return torch.cat(known).cpu().numpy() if known else np.zeros(0, dtype=bool)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        height, width, _ = self._vectors.shape
        first, step = self._lon
        half = 0.5 * step
        x = ((lonlat[:, 0] - first + half) % 360.0 - half) / step
        y = (lonlat[:, 1] - self._lat[0]) / self._lat[1]
        edge = 0.5 + 1e-9
        inside = (y >= -edge) & (y <= height - 1 + edge)
        if not self._around:
            inside &= x <= width - 1 + edge
            x = x.clamp(0, width - 1)
        y = y.clamp(0, height - 1)
        left, below = x.floor().long(), y.floor().long().clamp(max=height - 2)
        if not self._around:
            left = left.clamp(max=width - 2)
        right = (left + 1) % width
        u, v = ((x - left)[:, None].to(self.dtype), (y - below)[:, None].to(self.dtype))
        table = self._vectors
        left = left % width
        low = torch.lerp(table[below, left], table[below, right], u)
        high = torch.lerp(table[below + 1, left], table[below + 1, right], u)
        out = torch.lerp(low, high, v)
        out[~inside] = torch.nan
        return out


def _axis(centers: NDArray[np.float64], name: str) -> tuple[float, float]:
    """Return first center and step of an evenly spaced, increasing axis."""
    steps = np.diff(centers)
    if not len(steps) or not steps.min() > 0 or np.ptp(steps) > 1e-6 * steps.mean() + 1e-9:
        raise ValueError(f"{name} must be at least two evenly spaced, increasing centers.")
    return float(centers[0]), float((centers[-1] - centers[0]) / len(steps))
