"""The report on a file: what was read, what was taken for what, what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from satclip_explore.html_view import facts_table


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """Places that were read, and how.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per place that was kept: lon and lat in degrees of WGS 84, longitude wrapped, then
        the other columns. A GeoDataFrame where there are polygons or lines.
    source, format : str
        Where it came from.
    geometry : {"points", "polygons", "cells"}
        What the rows are; polygons have a point inside as lon and lat.
    roles : mapping of str to str
        Which column was taken for what.
    crs : str
        Coordinate system of the file; the frame is in EPSG:4326.
    encoding, delimiter, decimal : str
        Of text files.
    units : mapping of str to str
        Of columns.
    lines : numpy.ndarray, shape (N,), int64
        Where each kept row stands in the file, from 1.
    counted_in : {"line", "row", "feature", "cell"}
        What `lines` counts.
    rows_in_file : int
        Rows below the header, comments and blank lines not counted.
    left_out : mapping of str to (int, int)
        Rows that were not kept: how many, and the first of `lines`, by reason.
    notes : tuple of str
        What was assumed, each a sentence; every one can be changed by a keyword of `read_places`.
    grid : xarray.Dataset, optional
        The coordinates of a grid, for `on_grid`.
    odd : mapping of str to str
        Columns that mix numbers and other text: what to say to have them as numbers.
    asked : mapping of str to object
        Which of lon, lat, crs and order were given to `read_places`.
    """

    frame: pd.DataFrame
    source: str
    format: str
    geometry: str
    roles: Mapping[str, str]
    crs: str
    lines: NDArray[np.int64]
    counted_in: str
    rows_in_file: int
    left_out: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...] = ()
    encoding: str = ""
    delimiter: str = ""
    decimal: str = ""
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    grid: xr.Dataset | None = None
    odd: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    asked: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """The places, shape (N, 2), degrees, longitude first."""
        axes = [self.frame[axis].to_numpy(np.float64) for axis in ("lon", "lat")]
        return np.stack(axes, axis=1)

    @property
    def columns(self) -> list[str]:
        """Names of the columns beside the place."""
        return [column for column in self.frame.columns if column not in ("lon", "lat", "geometry")]

    def sample(self, n: int = 10) -> pd.DataFrame:
        """Return the first rows."""
        return self.frame.head(n)

    def on_grid(self, values: ArrayLike, name: str = "value") -> xr.DataArray:
        """Put one value per kept row back on the grid that was read; NaN elsewhere.

        Parameters
        ----------
        values : array_like, shape (N,)
            In the order of `frame`.
        name : str
            Of the result.

        Raises
        ------
        ValueError
            If no grid was read, or there is not one value per row.
        """
        if self.grid is None:
            raise ValueError(f"{self.source} is no grid; its results are a table.")
        values = np.asarray(values)
        if values.shape != (len(self),):
            raise ValueError(f"need one value per cell, shape ({len(self)},); got {values.shape}.")
        dims = tuple(self.grid.attrs["dims"])
        shape = tuple(self.grid.sizes[dim] for dim in dims)
        full = np.full(int(np.prod(shape)), np.nan)
        full[self.lines - 1] = values
        coords = {
            name: axis for name, axis in self.grid.coords.items() if set(axis.dims) <= {*dims}
        }
        return xr.DataArray(full.reshape(shape), coords=coords, dims=dims, name=name)

    def facts(self) -> dict[str, str]:
        """Say what was understood, as names and sentences; nothing in them is escaped."""
        said = {
            "format": ", ".join(filter(None, (self.format, self.encoding, self.delimiter))),
            **{key: f"from {value}" for key, value in self.roles.items()},
            "decimal sign": self.decimal,
            "coordinate system": self.crs,
            "rows": f"{len(self):,} {self.geometry} of {self.rows_in_file:,} rows",
            "left out": self.left_out_text(),
            "units": ", ".join(f"{key} in {value}" for key, value in self.units.items()),
            "notes": "; ".join(self.notes),
        }
        return {key: value for key, value in said.items() if value}

    def left_out_text(self) -> str:
        """Say which rows were not kept, with the first line of each kind."""
        return ", ".join(
            f"{count:,} ({why}; first: {self.counted_in} {first:,})"
            for why, (count, first) in self.left_out.items()
        )

    def __repr__(self) -> str:
        return (
            f"Reading({self.source!r}, {len(self):,} {self.geometry}, {len(self.columns)} columns)"
        )

    def _repr_html_(self) -> str:
        table = pd.DataFrame(self.frame.head(5)).drop(columns="geometry", errors="ignore")
        return facts_table(self.source, self.facts()) + table.to_html(index=False, escape=True)
