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
from satclip_explore.panes import cells, first_look
from satclip_explore.panes.base import Pane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import (
    Choice,
    code_choice,
    colored,
    page_choice,
    raster_choices,
    stem,
)
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

    def grid_shown(self) -> Grid:
        """Return the pixels that a download holds: the whole globe."""
        return Grid.from_resolution(WORLD_RESOLUTION)

    def downloads(self) -> list[Choice]:
        """List what the picture can be had as."""
        encoder, grid = self.encoder, self.grid_shown()
        look = self.components, self.stretch, self.land_only
        height, width = grid.shape
        bands = "red, green, blue" + (", and clear where the sea is" if self.land_only else "")
        names = {value: name for name, value in COMPONENTS.items()}

        def paint(check: Any) -> xr.DataArray:
            return painted(encoder, grid, *look, check)

        return [
            *raster_choices(paint, paint, stem(encoder.name, names[self.components]),
                            f"{width:,} × {height:,} pixels of {bands}"),
            *page_choice(encoder, self.selection.lonlat),
            code_choice(painted_code(encoder, grid, *look)),
        ]  # fmt: skip

    def download_menu(self) -> DownloadMenu:
        """Make the button that lists them."""
        return DownloadMenu(self.downloads)


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
    return fitted.select(_rows(components, n_components))


def _rows(components: tuple[int, ...], n_components: int) -> list[int]:
    return [component % N_COMPONENTS % n_components for component in components]


def world_picture(
    encoder: Any,
    components: tuple[int, ...] = BIOMES,
    stretch: float = 1.0,
    progress: Any = None,
    resolution: float | None = None,
) -> xr.DataArray:
    """Return the globe in principal components, encoded once per process for the same settings.

    `resolution` is in degrees per pixel, by default `WORLD_RESOLUTION`.
    """
    resolution = resolution or WORLD_RESOLUTION

    def paint() -> xr.DataArray:
        projection = projection_of(encoder, components, stretch)
        return pca_raster(encoder, resolution, projection=projection, progress=progress)

    return RESULTS.get(_key(encoder, components, stretch, resolution), paint, progress)


def kept_globe(
    encoder: Any,
    components: tuple[int, ...] = BIOMES,
    stretch: float = 1.0,
    land_only: bool = True,
    resolution: float | None = None,
) -> np.ndarray | None:
    """Return the globe's colors, (H, W, 3 or 4), where somebody has computed or shipped it.

    The finest is taken; `resolution` names a coarser one that is welcome, too.
    """
    for degrees in (WORLD_RESOLUTION, resolution or WORLD_RESOLUTION):
        kept = RESULTS.peek(_key(encoder, components, stretch, degrees))
        if kept is not None:
            return kept.to_numpy()
    return first_look.land_of(encoder) if land_only and components == BIOMES else None


def _key(
    encoder: Any, components: tuple[int, ...], stretch: float, resolution: float
) -> tuple[Any, ...]:
    """Say what a globe depends on, for the store of shared results."""
    return ("world", encoder, components, stretch, resolution)


def painted(
    encoder: Any,
    grid: Grid,
    components: tuple[int, ...] = BIOMES,
    stretch: float = 1.0,
    land_only: bool = True,
    progress: Any = None,
) -> xr.DataArray:
    """Paint a grid in full, as a field of bytes: (H, W, 3), or (H, W, 4) where the sea is clear."""
    field = pca_raster(
        encoder, grid=grid, projection=projection_of(encoder, components, stretch),
        progress=progress,
    )  # fmt: skip
    colors = rgba(field.to_numpy(), grid, True) if land_only else field.to_numpy()
    return colored(colors, field, components=str(components), stretch=f"{stretch:g}")


def painted_code(
    encoder: Any, grid: Grid, components: tuple[int, ...], stretch: float, land_only: bool
) -> str:
    """Write the cell that paints a grid."""
    me = cells.Code("encoder")
    if components == BIOMES:
        imports = ["from satclip_explore.biome_colors import fit_biome_colors"]
        projection: str = cells.call("fit_biome_colors", me)
    else:
        n_components = min(N_COMPONENTS, encoder.embed_dim)
        detail = {"smooth_degrees": SMOOTH_DEGREES} if min(components) >= N_COMPONENTS else {}
        imports = ["from satclip_explore.projection import fit_pca"]
        projection = cells.call("fit_pca", me, n_components, stretch=stretch, **detail)
        projection += f".select({_rows(components, n_components)})"
    lines = [
        f"grid = {cells.call('sx.Grid', grid.bounds, grid.shape)}",
        f"projection = {projection}",
        "picture = sx.pca_raster(encoder, grid=grid, projection=projection)",
    ]
    if land_only:
        imports.insert(0, "from satclip_explore.atlas import land_mask")
        lines.append("picture = picture.where(land_mask(grid)[..., None], 0)")
    return cells.cell({"encoder": encoder}, *lines, "picture.plot.imshow()", imports=tuple(imports))


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
