"""Web map tiles of any field: z/x/y in Web Mercator to PNG, for ipyleaflet, QGIS and the app."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.geo import Bounds, Grid
from satclip_explore.projection import Projection, fit_pca
from satclip_explore.view_colors import view_colors

TILE_SIZE = 256
MAX_ZOOM = 24


@dataclass(frozen=True)
class TileGrid(Grid):
    """Pixel centers of one Web Mercator tile: columns even in longitude, rows even in Mercator y.

    Built by `TileGrid.of(z, x, y)`. Everything that takes a Grid takes it.
    """

    tile: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, z: int, x: int, y: int, size: int = TILE_SIZE) -> TileGrid:
        """Build the grid of a tile.

        Parameters
        ----------
        z, x, y : int
            Zoom, column from the antimeridian eastwards, row from the north, as in OpenStreetMap.
        size : int
            Pixels along an edge.

        Raises
        ------
        ValueError
            If zoom, column or row is out of range.
        """
        n = 2**z if 0 <= z <= MAX_ZOOM else 0
        if not (0 <= x < n and 0 <= y < n):
            raise ValueError(
                f"a tile needs 0 <= z <= {MAX_ZOOM} and 0 <= x, y < 2^z; got {z}/{x}/{y}."
            )
        lat = mercator_lat(np.array([y + 1.0, float(y)]) / n)
        bounds: Bounds = (x / n * 360.0 - 180.0, lat[0], (x + 1) / n * 360.0 - 180.0, lat[1])
        return cls(bounds, (size, size), (z, x, y))

    @cached_property
    def lat(self) -> NDArray[np.float64]:
        """Latitudes of the pixel centers, shape (H,), decreasing, degrees."""
        z, _, y = self.tile
        return mercator_lat((y + (np.arange(self.shape[0]) + 0.5) / self.shape[0]) / 2**z)


def mercator_lat(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn Mercator y, 0 at the map's northern edge and 1 at its southern, into degrees."""
    return np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * y))))


def pca_tile(
    encoder: LocationEncoder, z: int, x: int, y: int, *, projection: Projection | None = None
) -> bytes:
    """Paint one tile in the principal components of its embeddings.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    z, x, y : int
        Tile, as in OpenStreetMap.
    projection : Projection, optional
        Three components; default those of `fit_pca(encoder)`.

    Returns
    -------
    bytes
        A PNG of 256 x 256 pixels; transparent where the encoder has no coverage.

    Raises
    ------
    ValueError
        If the tile does not exist.
    """
    grid = TileGrid.of(z, x, y)
    colors = view_colors(encoder, grid, projection or fit_pca(encoder))
    covered = encoder.coverage(grid.lonlat).reshape(grid.shape)
    return png_bytes(np.dstack([colors, np.where(covered, 255, 0).astype(np.uint8)]))


def png_bytes(rgba: NDArray[np.uint8]) -> bytes:
    """Encode an image, shape (H, W), (H, W, 3) or (H, W, 4), uint8, as PNG."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("pictures need Pillow: pip install 'satclip-explore[app]'") from error
    buffer = BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
