"""Grids as tables of cells: NetCDF, Zarr, GeoTIFF, and xarray objects."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.files.columns import find_roles, listed, shown, word_set
from satclip_explore.files.containers import Content
from satclip_explore.files.hdf5 import refuse_other_files
from satclip_explore.files.raw_table import MAX_COLUMNS, MAX_ROWS, RawTable, ReadOptions, numbered

UNITS_OF = {"lon": "degrees_east", "lat": "degrees_north"}
STANDARD_NAMES = {
    "longitude": "lon", "latitude": "lat",
    "projection_x_coordinate": "x", "projection_y_coordinate": "y",
}  # fmt: skip


def read_netcdf(content: Content, options: ReadOptions) -> RawTable:
    """Read NetCDF, classic or version 4; large files are read by variable."""
    classic = content.data.startswith(b"CDF")
    engine = "scipy" if classic else "h5netcdf"
    source = content.path or io.BytesIO(content.data)
    if not classic:
        refuse_other_files(source)
    try:
        dataset = xr.open_dataset(source, engine=engine)
    except ImportError as error:
        raise ImportError(f"NetCDF needs {engine}: pip install 'satclip-explore[geo]'") from error
    except (OSError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ValueError(f"the file does not read as NetCDF: {shown(error)}.") from error
    with dataset:
        return read_grid(dataset, options, "NetCDF")


def read_zarr(content: Content, options: ReadOptions) -> RawTable:
    """Read a Zarr store: a folder, or one that is zipped."""
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise ImportError("Zarr needs zarr: pip install 'satclip-explore[geo]'") from error
    with tempfile.TemporaryDirectory() as folder:
        root = content.path
        if content.parts is not None:
            root = Path(folder)
            for name, data in content.parts.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(data)
        assert root is not None
        metadata = [*root.rglob(".zarray"), *root.rglob("zarr.json"), *root.rglob(".zmetadata")]
        if not metadata:
            raise ValueError(f"{content.name} is a folder, but no Zarr store; give a file.")
        for path in metadata:
            if b"pickle" in path.read_bytes():
                raise ValueError("the Zarr store holds pickled objects, which could run code.")
        top = min((file.parent for file in metadata), key=lambda folder: len(folder.parts))
        top = top.parent if not (top / "zarr.json").exists() and (top / ".zarray").exists() else top
        try:
            with xr.open_zarr(top, chunks=None, consolidated=None) as dataset:
                return read_grid(dataset, options, "Zarr")
        except (OSError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"the folder does not read as Zarr: {shown(error)}.") from error


def read_geotiff(content: Content, options: ReadOptions) -> RawTable:
    """Read the bands of a GeoTIFF as columns."""
    try:
        import rasterio
    except ImportError as error:
        raise ImportError("GeoTIFF needs rasterio: pip install 'satclip-explore[geo]'") from error
    try:
        if content.path is not None:
            with rasterio.open(content.path, driver="GTiff") as file:
                return _from_bands(file, options)
        with rasterio.MemoryFile(content.data) as memory, memory.open(driver="GTiff") as file:
            return _from_bands(file, options)
    except rasterio.errors.RasterioError as error:
        raise ValueError(f"the file does not read as GeoTIFF: {shown(error)}.") from error


def _check_georeference(file: Any) -> None:
    """Refuse a raster that names a coordinate system and does not say where it lies in it."""
    if file.transform.is_identity:
        points = " but ground control points" if file.gcps[0] else ""
        raise ValueError(
            f"the GeoTIFF has no georeference{points}; give it one first, e.g. with gdalwarp."
        )


def _from_bands(file: Any, options: ReadOptions) -> RawTable:
    crs = options.crs or (file.crs.to_wkt() if file.crs else None)
    if crs is None:
        raise ValueError("the GeoTIFF says no coordinate system; say crs=, e.g. crs='EPSG:4326'.")
    _check_georeference(file)
    _check_cells(file.height * file.width, file.count)
    rows, columns = np.mgrid[: file.height, : file.width]
    a, b, c, d, e, f = tuple(file.transform)[:6]
    column, row = columns.ravel() + 0.5, rows.ravel() + 0.5
    x, y = a * column + b * row + c, d * column + e * row + f
    names = [file.descriptions[i] or f"band {i + 1}" for i in range(file.count)]
    bands = {}
    for i, name in enumerate(names):
        values = file.read(i + 1, masked=True).astype(np.float64).filled(np.nan)
        label = name if names.count(name) == 1 else f"{name} ({i + 1})"
        bands[label] = values.ravel() * file.scales[i] + file.offsets[i]
    return _placed(pd.DataFrame(bands), x, y, crs, "GeoTIFF", None, {}, ())


def read_grid(data: Any, options: ReadOptions, format: str = "grid") -> RawTable:
    """Make a row of every cell of a DataArray or Dataset; axes of length 1 are dropped.

    Raises
    ------
    ValueError
        If there are no coordinates, or an axis such as time has more than one step.
    """
    dataset = data if isinstance(data, xr.Dataset) else data.to_dataset(name=data.name or "value")
    lon, lat, projected = _axes(dataset, options)
    crs = options.crs or _grid_crs(dataset)
    if projected and crs is None:
        raise ValueError(f"the grid has axes {shown(lon)} and {shown(lat)} and no coordinate "
                         "system; say crs=, e.g. crs='EPSG:32633'.")  # fmt: skip
    if not projected and options.crs is None:
        crs = None
    dims = tuple(dict.fromkeys([*dataset[lat].dims, *dataset[lon].dims]))
    cells = int(np.prod([dataset.sizes[dim] for dim in dims]))
    columns: dict[str, NDArray[Any]] = {}
    units: dict[str, str] = {}
    notes: list[str] = []
    used: list[Any] = []
    for name in dataset.data_vars:
        variable = dataset[name]
        if not set(dims) <= set(variable.dims) or variable.dtype.kind not in "biufM":
            continue
        if name in (lon, lat):
            continue
        variable, outside = _within_range(variable)
        if outside:
            notes.append(
                f"{shown(name)}: {outside:,} values out of its valid range count as missing"
            )
        extra = [dim for dim in variable.dims if dim not in dims]
        steps = int(np.prod([variable.sizes[dim] for dim in extra]))
        _check_cells(cells, len(columns) + steps)
        dropped = [dim for dim in extra if variable.sizes[dim] == 1]
        notes += [f"{shown(dim)} has one step, which was taken" for dim in dropped]
        variable = variable.squeeze(dropped)
        extra = [dim for dim in extra if dim not in dropped]
        if len(extra) > 1 or (extra and str(extra[0]).lower() in TIME_AXES):
            raise ValueError(
                f"{shown(name)} has several steps along {listed(extra)}; choose one first, e.g. "
                f"data.isel({shown(extra[0])}=0), or take a mean."
            )
        values = variable.transpose(*dims, *extra).to_numpy().reshape(cells, -1)
        if extra:
            labels = variable[extra[0]].values if extra[0] in variable.coords else range(steps)
            columns |= {f"{name}_{label}": values[:, i] for i, label in enumerate(labels)}
        else:
            columns[str(name)] = values[:, 0]
        used.append(name)
        if variable.attrs.get("units"):
            units[str(name)] = str(variable.attrs["units"])
    if not columns:
        raise ValueError(f"no variable lies on the grid ({shown(lon)}, {shown(lat)}); the file "
                         f"holds {listed(dataset.data_vars)}.")  # fmt: skip
    shape = [dataset.sizes[dim] for dim in dims]
    x, y = (
        _in_unit(np.broadcast_to(_on_dims(dataset[axis], dims), shape).ravel(), dataset[axis], crs)
        for axis in (lon, lat)
    )
    grid = dataset[used].isel({dim: 0 for dim in dataset[used].dims if dim not in dims}, drop=True)
    frame = pd.DataFrame(columns)
    grid = grid.transpose(*dims).coords.to_dataset().assign_attrs(dims=dims)
    return _placed(frame, x, y, crs, format, grid, units,
                   tuple(dict.fromkeys(notes)))  # fmt: skip


TIME_AXES = word_set(
    """
    time valid_time date step month year t level pressure_level lev depth
    """
)


def _within_range(variable: xr.DataArray) -> tuple[xr.DataArray, int]:
    """Take what lies out of the range that a variable states as missing; returns how many.

    References
    ----------
    "NetCDF attribute conventions": valid_range, valid_min and valid_max are in the numbers that the
    file holds where they are of their type.
    """
    low, high = variable.attrs.get("valid_range", (None, None))
    limits = []
    for stated in (variable.attrs.get("valid_min", low), variable.attrs.get("valid_max", high)):
        if stated is None or variable.dtype.kind not in "iuf":
            limits.append(np.nan)
            continue
        packed = (
            np.asarray(stated).dtype.kind == np.dtype(variable.encoding.get("dtype", "f8")).kind
        )
        factor, shift = (variable.encoding.get(key) for key in ("scale_factor", "add_offset"))
        limit = float(np.ravel(stated)[0])
        limits.append(limit * (factor or 1.0) + (shift or 0.0) if packed else limit)
    # Half a step of a float32 is no reason to leave a value out.
    slack = 1e-6 * max((abs(limit) for limit in limits if np.isfinite(limit)), default=0.0)
    outside = (variable < limits[0] - slack) | (variable > limits[1] + slack)
    count = int(outside.sum())
    return (variable.where(~outside), count) if count else (variable, 0)


def _in_unit(values: NDArray[Any], axis: xr.DataArray, crs: Any) -> NDArray[np.float64]:
    """Turn an axis in radians into degrees, and one in kilometers into what its system counts."""
    from satclip_explore.files.crs import read_crs

    unit = str(axis.attrs.get("units", "")).strip().lower().rstrip("s")
    values = values.astype(np.float64)
    system = None if crs is None else read_crs(crs)
    if system is None or system.is_geographic:
        return np.degrees(values) if unit in ("radian", "rad") else values
    if unit in ("radian", "rad"):
        raise ValueError(
            f"{shown(axis.name)} is an angle in radians, as satellites scan; bring the grid to "
            "meters or to longitude and latitude first."
        )
    if unit in ("km", "kilometer", "kilometre"):
        return values * (1000.0 / system.axis_info[0].unit_conversion_factor)
    return values


def _placed(
    frame: pd.DataFrame, x: Any, y: Any, crs: Any, format: str, grid: Any, units: Any, notes: Any
) -> RawTable:
    from satclip_explore.files.crs import read_crs, to_lonlat

    if crs is not None:
        x, y = to_lonlat(x, y, read_crs(crs))
    frame = frame.drop(columns=[name for name in ("lon", "lat") if name in frame.columns])
    placed = frame.assign(lon=x, lat=y)
    return numbered(placed, format, "cell", grid=grid, units=units, notes=notes)


def _check_cells(cells: int, columns: int) -> None:
    if cells > MAX_ROWS or columns > MAX_COLUMNS or cells * columns > 20 * MAX_ROWS:
        raise ValueError(
            f"a grid may have {MAX_ROWS:,} cells and {20 * MAX_ROWS:,} values; got {cells:,} cells "
            f"of {columns:,}. Cut out a region or coarsen it first."
        )


def _on_dims(coordinate: Any, dims: tuple[Any, ...]) -> NDArray[Any]:
    """Lay a coordinate of one or two axes along all of them."""
    missing = [dim for dim in dims if dim not in coordinate.dims]
    return np.asarray(coordinate.expand_dims(missing).transpose(*dims).to_numpy())


def _axes(dataset: xr.Dataset, options: ReadOptions) -> tuple[Any, Any, bool]:
    """Find the coordinates: by what was said, by CF attributes, by name."""
    names = [*dataset.coords, *[name for name in dataset.data_vars if name in dataset.dims]]
    names += [name for name in dataset.data_vars
              if dataset[name].attrs.get("units") in UNITS_OF.values()
              and name not in names]  # fmt: skip
    if options.lon is not None:
        for name in (options.lon, options.lat):
            if name not in dataset.variables:
                raise ValueError(f"no coordinate {shown(name)!r}; got {listed(dataset.variables)}.")
        return options.lon, options.lat, options.crs is not None
    found: dict[str, Any] = {}
    for name in names:
        standard = STANDARD_NAMES.get(str(dataset[name].attrs.get("standard_name", "")))
        units = str(dataset[name].attrs.get("units", "")).replace("degree_", "degrees_")
        role = standard or next((r for r, unit in UNITS_OF.items() if units == unit), None)
        if role:
            found.setdefault(role, name)
    if "lon" in found and "lat" in found:
        return found["lon"], found["lat"], False
    roles = find_roles([name for name in names if dataset[name].ndim in (1, 2)])
    if roles is not None:
        meters = roles.kind != "lonlat"
        return roles.lon, roles.lat, meters
    if "x" in found and "y" in found:
        return found["x"], found["y"], True
    # Stations and swaths may keep them as variables that nothing names as coordinates.
    plain = find_roles([name for name in dataset.data_vars if dataset[name].ndim in (1, 2)])
    if plain is not None and dataset[plain.lon].dims == dataset[plain.lat].dims:
        return plain.lon, plain.lat, plain.kind != "lonlat"
    raise ValueError(f"the grid has no coordinates such as lon and lat; got {listed(names)}. Name "
                     "two with lon= and lat=.")  # fmt: skip


def _grid_crs(dataset: xr.Dataset) -> Any:
    """Return the CRS of a CF grid mapping, or None."""
    for name in dataset.variables:
        attrs = dataset[name].attrs
        if "crs_wkt" in attrs or "spatial_ref" in attrs:
            return attrs.get("crs_wkt") or attrs["spatial_ref"]
        if "grid_mapping_name" in attrs:
            import pyproj

            try:
                plain = {key: json.loads(json.dumps(value, default=_plain))
                         for key, value in attrs.items()}  # fmt: skip
                return pyproj.CRS.from_cf(plain)
            except (KeyError, TypeError, pyproj.exceptions.CRSError):
                return None
    return dataset.attrs.get("crs")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
