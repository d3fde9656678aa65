"""What strangers send, bent in every way, ends in a value or in one sentence, and touches nothing.

`make test` tries 2,000 of each; `make fuzz` 100,000.
"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given

from satclip_explore.encoders.lightning_files import export_lightning
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.files.places import read_places
from tests.bending import HANG_SECONDS, any_bent, bent, seeds, thorough
from training.probes.data import Scale
from training.probes.linear import LinearProbe
from training.probes.saved import ProbeModel, load_probe

PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class")
"""Audit events by which a file would start something."""

CITIES = [(13.4, 52.5), (-60.0, -3.1)]


class Samples(list):
    """Files to bend; short where Hypothesis shows them."""

    def __repr__(self):
        return f"{len(self)} files"


class Harm:
    """Unpickling this would start a program."""

    def __reduce__(self):
        return os.system, ("true",)


class Watch:
    """Notes programs that are started, and files written outside of a folder."""

    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self._see)

    def _see(self, event, facts):
        if self.folder is None:
            return
        if event in PROGRAMS:
            self.seen.append((event, facts))
        elif event == "open" and isinstance(facts[0], (str, bytes)):
            writes = (facts[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            path = os.fsdecode(facts[0])
            # Python keeps what it has compiled; in a fresh clone that is at a module's first use.
            if "__pycache__" in path:
                return
            if writes and not path.startswith((self.folder, "/dev/")):
                self.seen.append((event, facts))


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture
def bounded(watch, tmp_path, monkeypatch):
    """Call something that may refuse in one sentence, in a folder that it must leave as it was."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def hang(*_):
        raise AssertionError(f"no answer within {HANG_SECONDS} s")

    @contextmanager
    def check(*refusals):
        before = set(os.listdir(tmp_path))
        signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
        watch.folder = str(tmp_path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except refusals as refusal:
            text = str(refusal)
            assert text.endswith(".")
            assert "\n" not in text
            assert len(text) < 600
        finally:
            watch.folder = None
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert not watch.seen
        assert set(os.listdir(tmp_path)) == before

    previous = signal.signal(signal.SIGALRM, hang)
    yield check
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Files of places as people send them, small, in every format that is read."""
    geopandas, xr = pytest.importorskip("geopandas"), pytest.importorskip("xarray")
    pytest.importorskip("pyogrio")
    folder = tmp_path_factory.mktemp("tables")
    lonlat = np.array([(15.4785, 45.7092), (-3.7, 40.4), (151.2, -33.9), (0.5, 8.25)])
    frame = geopandas.GeoDataFrame(
        {"name": ["a", "b", "é", "NA"], "temp": [10.6, 5.1, -1.0, 0.5]},
        geometry=geopandas.points_from_xy(*lonlat.T), crs="EPSG:4326",
    )  # fmt: skip
    plain = frame.drop(columns="geometry").assign(lon=lonlat[:, 0], lat=lonlat[:, 1])
    plain.to_parquet(folder / "plain.parquet")
    frame.to_parquet(folder / "geo.parquet")
    plain.to_excel(folder / "a.xlsx", index=False)
    for driver, name in (("GPKG", "a.gpkg"), ("FlatGeobuf", "a.fgb"), ("GeoJSON", "a.geojson"),
                         ("KML", "a.kml"), ("GPX", "a.gpx")):  # fmt: skip
        (frame[["geometry"]] if driver == "GPX" else frame).to_file(folder / name, driver=driver)
    (folder / "shape").mkdir()
    frame.to_file(folder / "shape" / "a.shp")
    with zipfile.ZipFile(folder / "shape.zip", "w") as archive:
        for part in sorted((folder / "shape").iterdir()):
            archive.write(part, part.name)
    grid = xr.DataArray(np.arange(12.0).reshape(3, 4), name="t", dims=("lat", "lon"),
                        coords={"lat": [50.0, 49, 48], "lon": [1.0, 2, 3, 4]})  # fmt: skip
    grid.to_netcdf(folder / "a.nc", engine="h5netcdf")
    grid.to_netcdf(folder / "classic.nc", engine="scipy")
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(folder / "a.tif", "w", driver="GTiff", width=4, height=3, count=1,
                       dtype="float32", crs="EPSG:4326",
                       transform=rasterio.Affine(1, 0, 1, 0, -1, 50)) as raster:  # fmt: skip
        raster.write(grid.to_numpy().astype("float32"), 1)
    texts = [
        plain.to_csv(index=False),
        plain.to_csv(index=False, sep=";", decimal=","),
        plain.to_csv(index=False, sep="\t").replace("lon", "decimalLongitude"),
        "# note\nsep=;\nLängengrad;Breitengrad;t\n13,4;52,5;<0.5\n-3,7;40,4;1.234,5\n",
        'x;"a ""q"" b";WKT\n1;2;POINT (1 2)\n3;4;"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n',
        'place,t\n"45°42\'33""N 15°28\'42""E",1\n"45.7, 15.4",2\n',
        plain.to_json(orient="records"),
        "/* DATA\n*/\nLatitude\tLongitude\tTemp [°C]\n1.5\t2.5\t3\n",
    ]
    found = [text.encode() for text in texts] + [texts[0].encode("utf-16")]
    found.append(gzip.compress(texts[1].encode()))
    return Samples(
        found * 3 + [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    )


@thorough
@given(seeds)
def test_a_bent_upload_is_places_or_a_sentence(bounded, tables, chance):
    with bounded(ValueError):
        reading = read_places(any_bent(chance, chance.choice(tables), tables))
        assert np.isfinite(reading.lonlat).all()
        assert (np.abs(reading.lonlat[:, 1]) <= 90).all()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Encoders and probes on disk: for each what reads it, and its files by name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    encoder = SatCLIP(Siren(16, hidden_dim=6, embed_dim=4, num_layers=2, seed=0), 4, name="tiny")
    encoder.save(folder / "saved")
    export_lightning(encoder, folder / "published.ckpt")
    torch.save({"params": {"spa_enc_type": "wrap"}, "state_dict": {"a": torch.ones(2, 2)},
                "stranger": Harm()}, folder / "harm.pth.tar")  # fmt: skip
    np.savez(folder / "images.npz", locs=np.zeros((3, 2)), embeddings=np.zeros((3, 4)))
    probe = LinearProbe.from_tensors(
        {"weight": torch.ones(1, 1, 4), "bias": torch.zeros(1, 1)}, {}, 0
    )
    metrics = pd.DataFrame({"r2": [0.5]}, index=["tiny"])
    model = ProbeModel(
        encoder, probe, "temperature", (), "°C", Scale(0.0, 1.0),
        {"encoder": "tiny", "weights_hash": encoder.weights_hash}, metrics,
    )  # fmt: skip
    model.save(folder / "probe.safetensors")
    read_probe = partial(load_probe, encoder=encoder)
    found = [(load_encoder, {name: (folder / "saved" / name).read_bytes()
                             for name in ("config.json", "encoder.safetensors")})] * 3  # fmt: skip
    for path in sorted(folder.iterdir()):
        read = read_probe if path.name.startswith("probe") else load_encoder
        if path.is_file():
            found.append((read, {path.name: path.read_bytes()}))
    return Samples(found)


@thorough
@given(seeds)
def test_a_bent_checkpoint_is_an_encoder_or_a_sentence(bounded, checkpoints, chance):
    read, files = chance.choice(checkpoints)
    folder = Path(tempfile.mkdtemp())
    wrong = chance.choice(list(files))
    for name, content in files.items():
        whole = any_bent(chance, content, list(files.values())) if name == wrong else content
        (folder / name).write_bytes(whole)
    try:
        with bounded(ValueError, FileNotFoundError):
            found = read(folder if len(files) > 1 else folder / wrong)
            assert len((found.embed if read is load_encoder else found.predict)(CITIES)) == 2
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def links():
    """What the address of the dashboard may hold."""
    pytest.importorskip("panel")
    from satclip_explore.explorer import Explorer

    encoder = SatCLIP(Siren(16, hidden_dim=6, embed_dim=4, num_layers=2, seed=0), 4, name="tiny")
    return Explorer(encoder).links


GOOD = ["at=13.4,52.5", "view=-10,-20,30,40", "tab=probe", "stretch=5", "land=0", "rows=7",
        "opacity=0.5", "compare=xyz,wrap", "encoder=xyz", "cut=0.3", "region=Africa", "runs=3",
        "components=1·2·3", "shots=0.01", "column=a", "typed=b", "epochs=1"]  # fmt: skip


@thorough
@given(seeds)
def test_a_bent_address_is_values_or_sentences(bounded, links, chance):
    from satclip_explore.panes import url_state

    query = "&".join(chance.choices(GOOD, k=chance.randint(1, 4))).encode()
    query = bent(chance, query, [query, b"%ff%00", b"1e309,nan", b"<script>alert(1)</script>"])
    with bounded():
        values, problems = url_state.read_query(
            query.decode("utf-8", "replace"), {link.key: link.read for link in links}
        )
        for link in links:
            if link.key in values:
                link.write(values[link.key])
    for problem in problems:
        assert problem.endswith(".")
        assert "<" not in problem
        assert len(problem) < 300
