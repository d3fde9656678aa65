"""Globes of several encoders seen from near: encoded afresh where a reader looks closely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from satclip_explore.geo import Grid
from satclip_explore.panes import world
from satclip_explore.panes.background import Background, Job
from satclip_explore.projection import pca_raster

WIDEST = 90.0
"""Degrees of longitude in view up to which the kept globes are too coarse."""

PIXELS = (320, 640)


class NearView:
    """Rasters of one narrow view, for every encoder.

    Parameters
    ----------
    changed : callable
        Called on the page's thread when a raster became ready.
    failed : callable
        Called with a ValueError.
    """

    def __init__(self, changed: Callable[[], None], failed: Callable[[ValueError], object]) -> None:
        self.background = Background()
        self._changed, self._failed = changed, failed
        self._rasters: dict[str, tuple[Grid, np.ndarray]] = {}
        self._grid: Grid | None = None

    def raster(self, name: str) -> tuple[Grid, np.ndarray] | None:
        """Return the pixels and their colors (H, W, 3) of an encoder, or None."""
        return self._rasters.get(name)

    def forget(self) -> None:
        """Show whole globes again."""
        self.background.stop()
        self._rasters, self._grid = {}, None

    def look(self, x_range: Any, y_range: Any, encoders: Mapping[str, Any]) -> None:
        """Encode what is in view, and half as much around it; ranges in degrees."""
        across, up = (float(high) - float(low) for low, high in (x_range, y_range))
        if across > WIDEST:
            self.forget()
            return
        west, east = max(x_range[0] - across / 4, -180.0), min(x_range[1] + across / 4, 180.0)
        south, north = max(y_range[0] - up / 4, -90.0), min(y_range[1] + up / 4, 90.0)
        try:
            grid = Grid((west, south, east, north), PIXELS)
        except ValueError:
            return
        if grid == self._grid:
            return
        self._grid, wanted = grid, dict(encoders)

        def work(job: Job) -> None:
            for name, encoder in wanted.items():
                field = pca_raster(
                    encoder, grid=grid, projection=world.projection_of(encoder), progress=job.check
                )
                job.deliver(partial(self._keep, name, grid, field))

        self.background.start(work, lambda _: None, self._failed)

    def _keep(self, name: str, grid: Grid, field: Any) -> None:
        self._rasters = self._rasters | {name: (grid, field.to_numpy())}
        self._changed()
