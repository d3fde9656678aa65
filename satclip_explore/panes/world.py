"""The globe in principal components: encoded once per process, painted for any view."""

from __future__ import annotations

import io
from typing import Any

import holoviews as hv
import numpy as np
import param
import xarray as xr
from PIL import Image

from satclip_explore.atlas import land_mask
from satclip_explore.biome_colors import fit_biome_colors
from satclip_explore.geo import Bounds, Grid
from satclip_explore.panes.base import Pane
from satclip_explore.projection import Projection, fit_pca, pca_raster
from satclip_explore.store import RESULTS

WORLD_RESOLUTION = 0.25
"""Degrees per pixel of the raster that is kept of the whole globe."""

N_COMPONENTS = 9
"""Principal components that a reader can choose from."""

DETAIL = (N_COMPONENTS, N_COMPONENTS + 1, N_COMPONENTS + 2)
"""After them: the first three of what is finer than `SMOOTH_DEGREES` of harmonics."""

SMOOTH_DEGREES = 6

BIOMES = (-3, -2, -1)
"""In place of components: the colors of biomes; see `satclip_explore.biome_colors`."""

COMPONENTS = {"biomes": BIOMES, "1 · 2 · 3": (0, 1, 2), "4 · 5 · 6": (3, 4, 5),
              "7 · 8 · 9": (6, 7, 8), "1 only": (0, 0, 0), "2 only": (1, 1, 1),
              "3 only": (2, 2, 2), "detail": DETAIL}  # fmt: skip


class ColoredPane(Pane):
    """A pane whose colors are principal components; a page sets the same ones on all of them."""

    components = param.Selector(
        default=BIOMES,
        objects=COMPONENTS,
        doc="shown as R, G, B: the biomes as a linear model reads them from the embedding, or "
        "principal components; detail: what varies most below some 4,000 km",
    )
    stretch = param.Number(1.0, bounds=(0.0, 20.0), step=0.5, doc="% clipped at each end")
    land_only = param.Boolean(True, doc="leave out the sea, which training hardly sampled")

    def follow_colors(self, leader: ColoredPane) -> None:
        """Show the colors of another pane from now on."""

        def follow(*_: Any) -> None:
            self.param.update({name: getattr(leader, name) for name in COLORS})

        leader.param.watch(follow, COLORS)
        follow()


COLORS = ["components", "stretch", "land_only"]


def projection_of(
    encoder: Any, components: tuple[int, ...] = BIOMES, stretch: float = 1.0
) -> Projection:
    """Return chosen principal components, counted from 0, with a stretch in percent.

    Those from `N_COMPONENTS` on are components of the detail; see `fit_pca`. `BIOMES` are colors
    that are shown as they are.
    """
    if components == BIOMES:
        return fit_biome_colors(encoder)
    detail = min(components) >= N_COMPONENTS
    n_components = min(N_COMPONENTS, encoder.embed_dim)
    fitted = fit_pca(
        encoder, n_components, stretch=stretch, smooth_degrees=SMOOTH_DEGREES if detail else 0
    )
    rows = [component % N_COMPONENTS % n_components for component in components]
    return Projection(
        fitted.mean,
        fitted.components[rows],
        fitted.explained[rows],
        fitted.low[rows],
        fitted.high[rows],
    )


def world_picture(
    encoder: Any,
    components: tuple[int, ...] = BIOMES,
    stretch: float = 1.0,
    progress: Any = None,
) -> xr.DataArray:
    """Return the globe in principal components, encoded once per process for the same settings."""

    def paint() -> xr.DataArray:
        projection = projection_of(encoder, components, stretch)
        return pca_raster(encoder, WORLD_RESOLUTION, projection=projection, progress=progress)

    return RESULTS.get(world_key(encoder, components, stretch), paint, progress)


def world_key(
    encoder: Any, components: tuple[int, ...] = BIOMES, stretch: float = 1.0
) -> tuple[Any, ...]:
    """Say what the globe of `world_picture` depends on, for the store of shared results."""
    return ("world", encoder, components, stretch, WORLD_RESOLUTION)


def component_name(component: int) -> str:
    """Name a component, counted from 0, as legends do."""
    detail = component - N_COMPONENTS
    return f"PC{component + 1}" if detail < 0 else f"detail {detail + 1}"


def rgba(colors: np.ndarray, grid: Grid, land_only: bool) -> np.ndarray:
    """Add opacity to colors: where only land is wanted, the sea is clear.

    Parameters
    ----------
    colors : numpy.ndarray, shape (H, W, 3), uint8
        Row 0 in the north.
    grid : Grid
        Their pixel centers.
    land_only : bool
        Whether the sea is left out.

    Returns
    -------
    numpy.ndarray, shape (H, W, 4), uint8
    """
    alpha = np.full(grid.shape, 255, dtype=np.uint8)
    if land_only:
        alpha[~land_mask(grid)] = 0
    return np.concatenate([colors, alpha[..., None]], axis=-1)


def picture(colors: np.ndarray, bounds: Bounds) -> hv.RGB:
    """Place RGBA colors, row 0 in the north, on the globe."""
    return hv.RGB(colors, bounds=bounds, kdims=["lon", "lat"], vdims=[*"RGB", hv.Dimension("A")])


def png(colors: np.ndarray) -> bytes:
    """Write RGB or RGBA colors as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(colors).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
