"""GPS2Vec: one network per UTM zone, on the distances to a 20 × 20 grid of the zone."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.keras_files import read_dense_layers
from satclip_explore.geo import as_lonlat

CELLS = 20
"""Rows and columns of a zone's grid."""

DECAY_M = 20_000.0
"""Distance over which a cell's value falls by e, meters."""

BORDER_STEP = 0.1
"""Step in degrees along a zone's borders when its extent in meters is searched."""

BELOW_TOP = 1e-8
"""Degrees that the published code stays below a zone's northern border."""

SOUTH, NORTH = -80.0, 84.0
"""Latitudes between which UTM is defined, degrees."""

LETTERS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands, 8° each from 80° S; X has 12°."""

NO_ZONE = -1

FALSE_NORTHING_M = 10_000_000.0
"""Added to northings of the southern hemisphere."""

HIDDEN = (512, 1024, 2048)
OUTPUTS = {"tag": (2000,), "visual": (1000, 365)}
"""Widths of the softmax outputs, joined in this order."""

ZONES_IN_MEMORY = 16
"""Networks kept, about 27 MB each."""


@dataclass(frozen=True)
class ZoneGrid:
    """Centers of the cells of one zone, meters: easting (20,) and northing (20,)."""

    easting: NDArray[np.float64]
    northing: NDArray[np.float64]


class GPS2Vec(LocationEncoder):
    """Networks of UTM zones that are read when a place needs them (Yin et al. 2019, 2021).

    Places in zones without a published network, and beyond 80° S or 84° N, are NaN.

    Parameters
    ----------
    folder : str or Path
        Holds `model_48 N.h5` and so on.
    kind : {"tag", "visual"}
        2,000 tags, or 1,000 objects and 365 scenes.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no zone's network. A damaged file is a ValueError when its zone is first used.
    """

    family = "gps2vec"
    # A chunk that spans many zones reads each of them once.
    chunk_size = 32_768

    def __init__(
        self,
        folder: str | Path,
        kind: str = "tag",
        *,
        name: str = "",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        if kind not in OUTPUTS:
            raise ValueError(f"kind must be 'tag' or 'visual'; got {kind!r}.")
        self.folder, self.kind = Path(folder), kind
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"no folder at {self.folder}; unzip models_{kind}.zip and pass its folder."
            )
        self.name = name or f"gps2vec-{kind}"
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.embed_dim = sum(OUTPUTS[kind])
        self._files = {path.name: path for path in self.folder.glob("model_*.h5")}
        codes = range(len(LETTERS), 61 * len(LETTERS))
        self._published = np.array(
            [code for code in codes if self._file(code) is not None and zone_bounds(code)],
            dtype=np.int64,
        )
        if not len(self._published):
            raise ValueError(
                f"{self.folder} holds no zone of GPS2Vec; expected files such as 'model_48 N.h5'."
            )
        listing = "".join(f"{n} {self._files[n].stat().st_size}\n" for n in sorted(self._files))
        # Reading 27 MB a zone to hash them would undo that they are read on demand.
        self.weights_hash = hashlib.sha256(listing.encode()).hexdigest()[:16]
        self._networks: OrderedDict[int, list[torch.Tensor]] = OrderedDict()
        self._grids: dict[int, ZoneGrid] = {}

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places lie in a zone with a network; see `LocationEncoder.coverage`."""
        return np.isin(zone_codes(as_lonlat(lonlat)), self._published)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places, zone by zone; see `LocationEncoder.encode`."""
        places = lonlat.cpu().numpy()
        codes = zone_codes(places)
        out = torch.full(
            (len(places), self.embed_dim), torch.nan, dtype=self.dtype, device=self.device
        )
        for code in np.unique(codes[np.isin(codes, self._published)]):
            rows = np.flatnonzero(codes == code)
            features = torch.from_numpy(self.features(places[rows], int(code)))
            values = self._forward(features.to(self.device, self.dtype), int(code))
            out[torch.from_numpy(rows).to(self.device)] = values
        return out

    def features(self, lonlat: NDArray[np.float64], code: int) -> NDArray[np.float64]:
        """Return exp(-distance / 20 km) to the zone's cells, (N, 400), easting varying slowest."""
        if code not in self._grids:
            self._grids[code] = zone_grid(code)
        grid = self._grids[code]
        easting, northing = to_utm(lonlat).T
        distance = np.hypot(
            (easting[:, None] - grid.easting)[:, :, None],
            (northing[:, None] - grid.northing)[:, None, :],
        )
        return np.exp(-distance / DECAY_M).reshape(len(lonlat), -1)

    def _forward(self, x: torch.Tensor, code: int) -> torch.Tensor:
        weights = self._network(code)
        for i in range(len(HIDDEN)):
            x = torch.relu(torch.addmm(weights[2 * i + 1], x, weights[2 * i]))
        heads = []
        for i in range(len(HIDDEN), len(HIDDEN) + len(OUTPUTS[self.kind])):
            heads.append(torch.softmax(torch.addmm(weights[2 * i + 1], x, weights[2 * i]), dim=1))
        return torch.cat(heads, dim=1)

    def _network(self, code: int) -> list[torch.Tensor]:
        """Return kernels and biases in turn, from memory or from the zone's file."""
        if code in self._networks:
            self._networks.move_to_end(code)
            return self._networks[code]
        path = self._file(code)
        assert path is not None  # only published zones are asked for
        widths = [CELLS * CELLS, *HIDDEN]
        shapes = [(widths[i], widths[i + 1]) for i in range(len(HIDDEN))]
        shapes += [(HIDDEN[-1], width) for width in OUTPUTS[self.kind]]
        layers = read_dense_layers(path, shapes)
        tensors = [torch.from_numpy(v).to(self.device, self.dtype) for kb in layers for v in kb]
        self._networks[code] = tensors
        while len(self._networks) > ZONES_IN_MEMORY:
            self._networks.popitem(last=False)
        return tensors

    def _file(self, code: int) -> Path | None:
        return self._files.get(f"model_{zone_name(code)}.h5")


def zone_grid(code: int) -> ZoneGrid:
    """Lay the 20 × 20 grid over a zone: northings from its borders, eastings about its meridian."""
    bounds = zone_bounds(code)
    assert bounds is not None
    lon_min, lat_min, lon_max, lat_max = bounds
    # Summed step by step, as published: the last sample depends on the rounding.
    lon = np.cumsum([lon_min, *[BORDER_STEP] * 200])
    lon = lon[lon < lon_max]
    south = to_utm(np.stack([lon, np.full_like(lon, lat_min)], axis=1))
    north = to_utm(np.stack([lon, np.full_like(lon, lat_max - BELOW_TOP)], axis=1))
    west = min(south[0, 0], north[0, 0])
    east = 1_000_000.0 - west
    centers = (np.arange(CELLS) + 0.5) / CELLS
    low, high = south[:, 1].min(), north[:, 1].max()
    return ZoneGrid(west + (east - west) * centers, low + (high - low) * centers)


def zone_numbers(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the longitude zone of places, 1 … 60, with the exceptions of Norway and Svalbard.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first, wrapped.
    """
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    zone = (np.floor((lon + 180.0) / 6.0).astype(np.int64) % 60) + 1
    zone = np.where((lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12), 32, zone)
    svalbard = (lat >= 72) & (lat <= NORTH)
    for number, west, east in ((31, 0, 9), (33, 9, 21), (35, 21, 33), (37, 33, 42)):
        zone = np.where(svalbard & (lon >= west) & (lon < east), number, zone)
    return zone


def zone_codes(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return number × 20 + band of each place as one integer; `NO_ZONE` beyond 80° S or 84° N."""
    lat = lonlat[:, 1]
    band = np.minimum(np.floor((lat - SOUTH) / 8.0), len(LETTERS) - 1).astype(np.int64)
    code = zone_numbers(lonlat) * len(LETTERS) + band
    return np.where((lat >= SOUTH) & (lat <= NORTH), code, NO_ZONE)


def zone_name(code: int) -> str:
    """Spell a code as GPS2Vec does, e.g. "48 N"."""
    number, band = divmod(code, len(LETTERS))
    return f"{number} {LETTERS[band]}"


def zone_bounds(code: int) -> tuple[float, float, float, float] | None:
    """Return (lon_min, lat_min, lon_max, lat_max) of a zone in degrees.

    None where GPS2Vec's list has no such zone: 31 V (the sea west of Norway, left out by its
    authors) and 32 X, 34 X, 36 X, which do not exist.
    """
    number, band = divmod(code, len(LETTERS))
    exceptions = {
        "32 V": (3.0, 12.0),
        "31 X": (0.0, 9.0),
        "33 X": (9.0, 21.0),
        "35 X": (21.0, 33.0),
        "37 X": (33.0, 42.0),
    }
    name = zone_name(code)
    if name in ("31 V", "32 X", "34 X", "36 X"):
        return None
    west = -180.0 + 6.0 * (number - 1)
    lon_min, lon_max = exceptions.get(name, (west, west + 6.0))
    lat_min = SOUTH + 8.0 * band
    return lon_min, lat_min, lon_max, NORTH if LETTERS[band] == "X" else lat_min + 8.0


def to_utm(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project places into their own zone.

    Parameters
    ----------
    lonlat : numpy.ndarray, shape (N, 2)
        Degrees, longitude first, within UTM's latitudes.

    Returns
    -------
    numpy.ndarray, shape (N, 2)
        Easting and northing in meters; south of the equator northings count from -10,000 km.

    Raises
    ------
    ModuleNotFoundError
        If pyproj is not installed.
    """
    try:
        from pyproj import Proj
    except ImportError as error:
        raise ModuleNotFoundError(
            "GPS2Vec's zones need pyproj; install it with: pip install pyproj"
        ) from error
    zones, meters = zone_numbers(lonlat), np.empty_like(lonlat)
    for zone in np.unique(zones):
        here = zones == zone
        project = Proj(proj="utm", zone=int(zone), ellps="WGS84")
        meters[here] = np.stack(project(*lonlat[here].T), axis=1)
    meters[lonlat[:, 1] < 0.0, 1] += FALSE_NORTHING_M
    return meters


def read_gps2vec(
    path: str | Path, *, name: str = "gps2vec-tag", dtype: str = "float32", device: str = "auto"
) -> GPS2Vec:
    """Open a folder of zone files; the registered name says whether they are tag or visual."""
    return GPS2Vec(path, name.rpartition("-")[2], name=name, dtype=dtype, device=device)
