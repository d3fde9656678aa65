"""A field as NetCDF or Zarr with the names, units and flags of the CF conventions."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from satclip_explore.files.atomic import write_whole
from satclip_explore.files.raster import grid_of
from satclip_explore.provenance import clean_facts

CONVENTIONS = "CF-1.11"

LON = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
LAT = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}


def cf_dataset(field: xr.DataArray) -> xr.Dataset:
    """Describe a field so that other tools know what it holds.

    Parameters
    ----------
    field : xarray.DataArray, dims (lat, lon) or (lat, lon, …)
        A raster of this package, or one like it.

    Returns
    -------
    xarray.Dataset
        The field and its coordinates with units and standard names; a grid mapping
        `spatial_ref` (WGS 84); classes with `flag_values` and `flag_meanings`, their codes in
        int16 and -1 for missing; provenance as attributes of the dataset.

    Raises
    ------
    ValueError
        If it is no field with latitude and longitude.

    References
    ----------
    CF Conventions 1.11, sections 3.5 (flags), 4.1, 4.2 (coordinates), 5.6 (grid mappings).
    """
    grid_of(field)
    attrs = dict(field.attrs)
    own: dict[str, Any] = {"grid_mapping": "spatial_ref"}
    encoding: dict[str, Any] = {}
    name = re.sub(r"\W", "_", str(field.name or "value"))
    own["long_name"] = str(field.name or "value")
    if attrs.get("units"):
        own["units"] = str(attrs.pop("units"))
    classes = []
    with suppress(TypeError, ValueError):
        classes = json.loads(attrs.get("classes", "[]"))
    if classes:
        own["flag_values"] = np.arange(len(classes), dtype=np.int16)
        own["flag_meanings"] = " ".join(re.sub(r"\W+", "_", str(word)) for word in classes)
        field, encoding = field.astype(np.int16), {"_FillValue": np.int16(-1)}
    described = field.drop_attrs().assign_attrs(own).rename(name)
    described.encoding = encoding
    dataset = described.to_dataset()
    for axis, facts in (("lon", LON), ("lat", LAT)):
        dataset[axis] = dataset[axis].assign_attrs(facts)
    mapping = {
        "grid_mapping_name": "latitude_longitude", "longitude_of_prime_meridian": 0.0,
        "semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563,
    }  # fmt: skip
    with suppress(ImportError):
        import pyproj

        mapping["crs_wkt"] = pyproj.CRS("EPSG:4326").to_wkt()
    dataset["spatial_ref"] = xr.DataArray(np.int32(0), attrs=mapping)
    return dataset.assign_attrs({"Conventions": CONVENTIONS, **clean_facts(attrs)})


def to_netcdf(field: xr.DataArray, path: str | Path) -> Path:
    """Write `cf_dataset` to a NetCDF file, or to a Zarr store where the path ends in .zarr.

    Raises
    ------
    ValueError
        If the path has another ending, or it is no field.
    FileExistsError
        If something else than a Zarr store is there.
    ImportError
        If the format needs a package that is not installed.
    """
    path = Path(path)
    dataset = cf_dataset(field)
    if path.suffix not in (".nc", ".zarr"):
        raise ValueError(f"path must end in .nc or .zarr; got {path.name!r:.60}.")
    package = "h5netcdf" if path.suffix == ".nc" else "zarr"
    try:
        if path.suffix == ".nc":
            content = dataset.to_netcdf(engine="h5netcdf")
            return write_whole(path, bytes(content))
        if (path / ".zgroup").exists() or (path / "zarr.json").exists():
            shutil.rmtree(path)
        dataset.to_zarr(path, mode="w-", zarr_format=2, consolidated=True)
    except (ImportError, ModuleNotFoundError) as error:
        raise ImportError(
            f"{path.suffix} needs {package}: pip install 'satclip-explore[geo]'"
        ) from error
    return path
