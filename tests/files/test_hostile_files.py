"""Files of strangers that name other files of this machine: nothing of those is read."""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import pytest

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.files.places import read_places

SECRET = "id,lon,lat\nsecret,1,2\n"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize(
    "disguise",
    ["<?xml version='1.0'?>{}", "<kml></kml>{}", "<kml/>\n{}", "fgb\x03fgb\x01{}", "<gpx>{}</gpx>"],
)
def test_a_table_that_names_another_file_is_refused(secret, disguise):
    pytest.importorskip("pyogrio")
    named = (
        f"<OGRVRTDataSource><!-- <kml --><OGRVRTLayer name='secret'><SrcDataSource>{secret}"
        "</SrcDataSource><GeometryType>wkbPoint</GeometryType><GeometryField "
        "encoding='PointFromColumns' x='lon' y='lat'/></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(ValueError, match=r"\.$"):
        read_places(disguise.format(named).encode())


def outside(kind, secret, file):
    """An array of a NetCDF file whose bytes are those of another file."""
    h5py = pytest.importorskip("h5py")
    n = len(SECRET)
    if kind == "external":
        return file.create_dataset("leak", (1, n), dtype="u1", external=[(str(secret), 0, n)])
    other = secret.with_name("other.nc")
    with h5py.File(other, "w") as held:
        held["t"] = np.full((1, n), 7.0)
    if kind == "link":
        file["leak"] = h5py.ExternalLink(str(other), "/t")
        return file["leak"]
    layout = h5py.VirtualLayout((1, n), "f8")
    layout[:] = h5py.VirtualSource(str(other), "t", (1, n))
    return file.create_virtual_dataset("leak", layout)


@pytest.mark.parametrize("kind", ["external", "link", "virtual"])
def test_an_array_that_lies_in_another_file_is_refused(secret, tmp_path, kind):
    h5py, xr = pytest.importorskip("h5py"), pytest.importorskip("xarray")
    path, n = tmp_path / "grid.nc", len(SECRET)
    grid = xr.DataArray(np.zeros((1, n)), dims=("lat", "lon"), name="t",
                        coords={"lat": [5.0], "lon": np.linspace(0, 10, n)})  # fmt: skip
    grid.to_netcdf(path, engine="h5netcdf")
    assert len(read_places(path, keep_zero=True)) == n
    with h5py.File(path, "a") as file:
        outside(kind, secret, file)
    content = path.read_bytes()
    for read in (read_places, load_encoder):
        with pytest.raises(ValueError, match="'leak' lies in another file"):
            read(path)
    for source in (content, io.BytesIO(content)):
        with pytest.raises(ValueError, match="'leak' lies in another file"):
            read_places(source)


def test_a_comment_line_of_one_sign_above_a_table_is_no_header():
    reading = read_places(b"#\nlon lat t\n1 2 3\n4 5 6\n")
    assert reading.lonlat.tolist() == [[1.0, 2.0], [4.0, 5.0]]


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="NetCDF needs h5py: pip install"):
        read_places(b"\x89HDF\r\n\x1a\n")


def test_a_cell_of_spaces_is_read_at_once():
    """A number, ten thousand spaces and a letter: once each of these was tried as its end."""
    cell = "1" + 10_000 * " " + "x"
    table = "lon,lat,y\n" + "\n".join(f"{i},{i},{cell}" for i in range(12))
    began = time.process_time()
    reading = read_places(table.encode())
    assert reading.frame["y"].iloc[0] == cell
    assert time.process_time() - began < 5.0
