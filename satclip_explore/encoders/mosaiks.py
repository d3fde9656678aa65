"""MOSAIKS: precomputed random convolutional features of daytime imagery, on a 0.01° land grid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from satclip_explore.encoders.table import NearestTable
from satclip_explore.files.columns import lonlat_columns
from satclip_explore.geo import as_lonlat

MAX_DISTANCE_KM = 1.0
"""Default reach of a cell: its own corners, 0.79 km away at the equator, and little more."""

FEATURE_COLUMN = re.compile(r"(?:X_?)?(\d{1,5})", re.IGNORECASE)
"""The published files number their features 0 … 3999, with or without a leading ``X_``."""


def read_mosaiks(
    path: str | Path,
    *,
    name: str = "mosaiks",
    dtype: str = "float32",
    device: str = "auto",
    max_distance_km: float = MAX_DISTANCE_KM,
) -> NearestTable:
    """Load a table of MOSAIKS features.

    Parameters
    ----------
    path : str or Path
        CSV (also .gz, .zip) or Parquet with lon, lat and numbered feature columns.
    name, dtype, device : str
        As in `load_encoder`.
    max_distance_km : float
        Distance to a cell's center up to which its features are given; NaN beyond it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If a Parquet file is given and pyarrow is not installed.
    ValueError
        If the file cannot be read, lacks coordinates or features, or holds a cell twice.

    References
    ----------
    Rolf et al. (2021), "A generalizable and accessible approach to machine learning with global
    satellite imagery", Nature Communications 12:4392.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file at {path}; pass the CSV or Parquet table that api.mosaiks.org gave you."
        )
    frame = _read_frame(path)
    columns = _feature_columns(frame, path.name)
    values = frame[columns].to_numpy(dtype=np.float32)
    try:
        return NearestTable(
            as_lonlat(frame),
            values,
            max_distance_km=max_distance_km,
            name=name,
            family="mosaiks",
            dtype=dtype,
            device=device,
        )
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_frame(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        header = pd.read_csv(path, nrows=0).columns
        kinds = {c: np.float32 for c in header if FEATURE_COLUMN.fullmatch(str(c))}
        return pd.read_csv(path, dtype=kinds)
    except ImportError as error:
        raise ModuleNotFoundError(
            "Parquet tables need pyarrow; install it with: pip install pyarrow"
        ) from error
    # The parsers raise many kinds of errors on damaged files.
    except Exception as error:
        raise ValueError(f"{path.name} cannot be read as a table of features.") from error


def _feature_columns(frame: pd.DataFrame, source: str) -> list[Any]:
    """Return the feature columns by number, which must run from 0 without a gap."""
    if lonlat_columns(frame.columns) is None:
        raise ValueError(f"{source} lacks coordinate columns such as lon and lat.")
    numbered: dict[int, Any] = {}
    for column in frame.columns:
        match = FEATURE_COLUMN.fullmatch(str(column))
        if match and numbered.setdefault(int(match[1]), column) is not column:
            raise ValueError(f"{source} holds feature {int(match[1])} twice.")
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        raise ValueError(
            f"{source} must hold numbered feature columns, 0 to D-1 without a gap; "
            f"got {len(numbered)}."
        )
    return [numbered[i] for i in range(len(numbered))]
