"""The Earth in the principal components of its embeddings, encoded afresh wherever you zoom."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import param
from PIL import Image

from satclip_explore.biome_colors import BIOMES
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.furniture import NumberedMarks, furnish
from satclip_explore.panes.served import tiles
from satclip_explore.view_colors import view_colors

MAX_PIXELS = 700_000
COARSE_PIXELS = 12_000
FINEST_UPSAMPLING = 4.0
"""Times that the kept raster may be enlarged before a coarse encoding looks better."""


class PCAPane(world.ColoredPane):
    """Principal components as red, green and blue; pan and zoom re-encode what is visible."""

    _tick = param.Integer(0, doc="counts fine rasters that became ready")

    def __init__(self, encoder: Any, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._fine: tuple[Any, np.ndarray] | None = None
        self._rough: tuple[Any, np.ndarray] | None = None
        self._background = Background()
        self._asked: Any = None
        self._same = plots.SameView(self.selection, lambda: self._looking)
        self._ranges: Any = None
        self._grid = self.grid()
        self._looking = False

    def grid(
        self, x_range: Any = None, y_range: Any = None, width: Any = None, height: Any = None
    ) -> Grid:
        """Return the pixels of a view: the range in degrees, at screen resolution."""
        lon_min, lon_max = x_range or GLOBE[::2]
        lat_min, lat_max = y_range or GLOBE[1::2]
        lon_min, lon_max = np.clip([lon_min, lon_max], -180.0, 180.0)
        lat_min, lat_max = np.clip([lat_min, lat_max], -90.0, 90.0)
        if not (lon_min < lon_max and lat_min < lat_max):
            lon_min, lat_min, lon_max, lat_max = GLOBE
        width, height = int(width or 900), int(height or 450)
        shrink = min(1.0, (MAX_PIXELS / (width * height)) ** 0.5)
        shape = (max(2, int(height * shrink)), max(2, int(width * shrink)))
        return Grid((lon_min, lat_min, lon_max, lat_max), shape)

    def raster(
        self,
        x_range: Any = None,
        y_range: Any = None,
        width: Any = None,
        height: Any = None,
        **_: Any,
    ) -> hv.RGB:
        """Show a view at once from what is at hand, and start encoding it in full."""
        grid = self._grid = self.grid(x_range, y_range, width, height)
        key = (self.encoder, self.components, self.stretch, grid)
        if self._fine is not None and self._fine[0] == key:
            colors = self._fine[1]
        else:
            try:
                colors = self._at_hand(key)
            except ValueError as error:
                self.message = str(error)
                colors = np.zeros((*grid.shape, 3), dtype=np.uint8)
            else:
                # Before the browser has told the size, the work would be for the wrong pixels.
                if width is not None and not self._is_enough(grid):
                    self._encode(key)
        return world.picture(world.rgba(colors, grid, self.land_only), grid.bounds)

    def grid_shown(self) -> Grid:
        """Return the pixels of the view that is on the screen."""
        return self._grid

    def look(self, x_range: Any = None, y_range: Any = None) -> None:
        """Tell the other panes which range is visible, in degrees."""
        self._looking = True
        try:
            self.selection.look(self.grid(x_range, y_range).bounds)
        finally:
            self._looking = False

    def whole_world(self, _: Any = None) -> None:
        """Show the whole globe again, here and in the other panes."""
        self.selection.look(GLOBE)

    @param.depends("selection.bounds", watch=True)
    def _follow_view(self) -> None:
        """Encode what the reader looks at elsewhere."""
        if self._looking or self._ranges is None:
            return
        limits = self._same.limits()
        self._looking = True
        try:
            self._ranges.event(x_range=limits["xlim"], y_range=limits["ylim"])
        finally:
            self._looking = False

    def fine(self, grid: Grid, progress: Any = None) -> np.ndarray:
        """Encode every pixel of a view: colors, shape (H, W, 3), uint8."""
        projection = world.projection_of(self.encoder, self.components, self.stretch)
        # Bare numbers: the first DataArray of a process imports all of dask, where it is installed.
        return view_colors(self.encoder, grid, projection, progress=progress)

    def _kept(self) -> np.ndarray | None:
        """Return the globe's colors, (H, W, 3 or 4), where somebody has computed or shipped it."""
        return world.kept_globe(self.encoder, self.components, self.stretch, self.land_only)

    def _is_enough(self, grid: Grid) -> bool:
        """Tell whether the kept globe is as fine as the screen: nothing is left to encode then."""
        return min(grid.resolution) >= world.WORLD_RESOLUTION and self._kept() is not None

    def _at_hand(self, key: Any) -> np.ndarray:
        # A plot asks twice while it is made.
        if self._rough is None or self._rough[0] != (key, self.land_only):
            self._rough = ((key, self.land_only), self._coarse(key[-1]))
        return self._rough[1]

    def _coarse(self, grid: Grid) -> np.ndarray:
        kept = self._kept()
        if kept is not None and grid.resolution[0] * FINEST_UPSAMPLING >= world.WORLD_RESOLUTION:
            return resample(kept, grid)
        shrink = min(1.0, (COARSE_PIXELS / (grid.shape[0] * grid.shape[1])) ** 0.5)
        height, width = (max(2, int(n * shrink)) for n in grid.shape)
        small = Grid(grid.bounds, (height, width))
        rows, columns = (
            np.arange(n) * m // n for n, m in zip(grid.shape, small.shape, strict=True)
        )
        return self.fine(small)[np.ix_(rows, columns)]

    def _encode(self, key: Any) -> None:
        if key == self._asked:
            return
        self._asked = key
        encoder, components, stretch = self.encoder, self.components, self.stretch
        has_globe = self._kept() is not None
        self.busy = "encoding this view …"

        def work(job: Job) -> np.ndarray:
            colors = self.fine(key[-1], job.check)
            job.deliver(lambda: self._ready(key, colors))
            if not has_globe:
                world.world_picture(encoder, components, stretch, job.check)
            return colors

        def failed(error: ValueError) -> None:
            self.param.update(message=str(error), busy="")

        self._background.start(work, lambda _: None, failed)

    def _ready(self, key: Any, colors: np.ndarray) -> None:
        self._fine = (key, colors)
        self.param.update(busy="", message="", _tick=self._tick + 1)

    @param.depends("encoder", "components")
    def legend(self) -> str:
        """Say, as markup, which component is which color, and how much of the variance it holds."""
        try:
            explained = world.projection_of(self.encoder, self.components).explained
        except ValueError:
            return ""
        if self.components == world.BIOMES:
            key = " &nbsp; ".join(
                f"<span class='k'>{theme.dot(color)} {word}</span>"
                for word, color in BIOMES.values()
                if word
            )
            share = f"{100 * explained.mean():.0f} %"
            told = f"The embedding explains {share} of the variance of these colors."
            style = "<style>.k { white-space: nowrap; }</style>"
            return f"<span class='hint'>{style}{key}<br>{told}</span>"
        dots = "".join(
            f"{theme.dot(color)} {world.component_name(component)} {100 * share:.0f} % &nbsp;"
            for component, share, color in zip(
                self.components, explained, ("#ff6b6b", "#7ee787", "#5cc8ff"), strict=True
            )
        )
        return f"<span class='hint'>{dots}</span>"

    @param.depends("encoder", "components")
    def tiles(self) -> str:
        """Say, as markup, where other maps get this layer, where the server gives tiles."""
        layer = tiles.layer_name(self.encoder, self.components) if tiles.served() else None
        if layer is None:
            return ""
        return (
            f"<a class='hint' href='{theme.escape(tiles.json_address(layer))}' target='_blank' "
            "title='TileJSON: the address of its tiles for QGIS, Leaflet, MapLibre'>map tiles</a>"
        )

    def view(self) -> Any:
        """Return the zoomable raster with coastlines and the selected place."""
        limits = self._same.limits()
        shown = ["encoder", "components", "stretch", "land_only", "_tick"]
        ranges = hv.streams.RangeXY(x_range=limits["xlim"], y_range=limits["ylim"])
        ranges.add_subscriber(self.look)
        self._ranges = ranges
        marks = NumberedMarks(self.selection)
        streams = [
            ranges,
            hv.streams.PlotSize(),
            hv.streams.Params(self, shown, rename={name: f"now_{name}" for name in shown}),
        ]
        return plots.on_globe(
            hv.DynamicMap(self.raster, streams=streams), self.selection,
            lines="countries", alpha=0.4,
            hooks=[plots.dark, furnish, marks.hook, self._same.hook], **limits,
        )  # fmt: skip

    def __panel__(self) -> Any:
        controls = (
            theme.select(self.param.components, "Colors", 150, options=_COLORS),
            theme.select(
                self.param.stretch,
                "Contrast",
                118,
                options=_STRETCH,
                visible=self.param.components.rx() != world.BIOMES,
            ),
            theme.select(self.param.land_only, "Show", 124, options=_SEA),
            self.download_menu(),
        )
        plot = plots.plot_pane(self.view())
        # As text: for a method Panel asks every kind of pane it has, and imports matplotlib.
        legend = theme.text(self.legend)
        words = theme.hint("Scroll to zoom, drag to pan, click to choose a place")
        foot = theme.split(legend, theme.text(self.tiles), words)
        return theme.card(
            "The world as the encoder sees it", plot, foot, self.status(),
            actions=(theme.button("Whole world", self.whole_world), *controls),
        )  # fmt: skip


_SEA = {"land only": True, "land and sea": False}
_STRETCH = {f"{value:g} % clipped": value for value in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)}
_COLORS = {
    label if value in (world.BIOMES, world.DETAIL) else f"PCA {label}": value
    for label, value in world.COMPONENTS.items()
}


def resample(colors: np.ndarray, grid: Grid) -> np.ndarray:
    """Resample a globe to the pixels of a view.

    Parameters
    ----------
    colors : numpy.ndarray, shape (H, W, 3 or 4), uint8
        Row 0 in the north. What is clear adds nothing to the colors beside it.
    grid : Grid
        The view.

    Returns
    -------
    numpy.ndarray, shape (rows, columns, 3), uint8
    """
    height, width = colors.shape[:2]
    west, south, east, north = grid.bounds
    box = ((west + 180.0) * width / 360.0, (90.0 - north) * height / 180.0,
           (east + 180.0) * width / 360.0, (90.0 - south) * height / 180.0)  # fmt: skip
    image = Image.fromarray(colors)
    # Colors times opacity: the name of this mode in Pillow.
    image = image.convert("RGBa") if image.mode == "RGBA" else image
    small = image.resize(grid.shape[::-1], Image.Resampling.BILINEAR, box)
    return np.asarray(small.convert("RGBA"))[..., :3]
