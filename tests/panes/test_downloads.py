"""What each view gives: every file opens and says where it is from, every cell gives the view."""

from __future__ import annotations

import ast
import base64
import io
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import satclip_explore as sx
from satclip_explore.atlas import land_mask
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import Grid
from satclip_explore.panes import cells, world
from satclip_explore.panes.base import Selection
from satclip_explore.panes.compare import downloads as compare_downloads
from satclip_explore.panes.compare.pane import ComparePane
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.downloads import Choice, stem
from satclip_explore.panes.embedding import EmbeddingPane
from satclip_explore.panes.label_files import offer as offer_labels
from satclip_explore.panes.labels import LabelsPane
from satclip_explore.panes.map import MapPane
from satclip_explore.panes.neighbors import NeighborsPane
from satclip_explore.panes.pca import PCAPane
from satclip_explore.panes.probe import downloads as probe_downloads
from satclip_explore.panes.probe.pane import ProbePane
from satclip_explore.panes.similarity import SimilarityPane
from satclip_explore.panes.table.pane import TablePane
from satclip_explore.panes.uploads import SAMPLE_CODE, SAMPLES, Dropped
from satclip_explore.webpage import page

PLACE = (13.4, 52.5)


@pytest.fixture(scope="module")
def encoder():
    """Loaded by a name, as those of a page are; 25 numbers."""
    return load_encoder("harmonics-l5")


@pytest.fixture
def selection() -> Selection:
    return Selection(lonlat=PLACE)


def nothing(*_):
    """Stand for the progress of a download."""


def made(choices, label, filename=""):
    """The content of the one choice with this label."""
    (choice,) = [c for c in choices if c.label == label and c.filename.endswith(filename)]
    return choice.make(nothing)


def run(choices, monkeypatch):
    """Run the cell as it would be pasted: its names, and the value of its last line."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (code,) = [choice.code for choice in choices if choice.code]
    tree, names = ast.parse(code), {}
    value = ast.Expression(tree.body.pop().value)
    exec(compile(tree, "cell", "exec"), names)
    return names, eval(compile(value, "cell", "eval"), names)


def provenance_of_png(content):
    return Image.open(io.BytesIO(content)).text


@pytest.fixture
def opened():
    """Read a GeoTIFF: bands (C, H, W) and tags."""
    rasterio = pytest.importorskip("rasterio")

    def read(content):
        with rasterio.MemoryFile(content) as memory, memory.open() as file:
            return file.read(), file.tags(), file.bounds

    return read


@pytest.fixture
def layer(tmp_path):
    """Read a GeoPackage."""
    geopandas = pytest.importorskip("geopandas")

    def read(content):
        path = tmp_path / "layer.gpkg"
        path.write_bytes(content)
        return geopandas.read_file(path)

    return read


@pytest.mark.parametrize("components", [world.BIOMES, world.DETAIL])
def test_the_raster_is_given_as_it_is_seen_and_its_cell_paints_it(
    encoder, selection, opened, monkeypatch, components
):
    pane = PCAPane(encoder, selection=selection, components=components, stretch=2.0)
    pane.raster((0.0, 40.0), (30.0, 50.0), 60, 30)
    pane._background.wait(60)
    choices = pane.downloads()
    bands, tags, bounds = opened(made(choices, "GeoTIFF"))
    assert bands.shape == (4, 30, 60)
    assert tuple(bounds) == (0.0, 30.0, 40.0, 50.0)
    assert tags["encoder"] == "harmonics-l5"
    png = made(choices, "PNG")
    assert provenance_of_png(png)["encoder"] == "harmonics-l5"
    np.testing.assert_array_equal(np.moveaxis(np.array(Image.open(io.BytesIO(png))), 2, 0), bands)
    picture = run(choices, monkeypatch)[0]["picture"].to_numpy()
    land = land_mask(Grid((0.0, 30.0, 40.0, 50.0), (30, 60)))
    np.testing.assert_array_equal(np.moveaxis(picture, 2, 0)[:, land], bands[:3, land])
    assert (bands[3] == np.where(land, 255, 0)).all()


def test_the_map_gives_the_globe_without_the_sea_left_out_where_it_is_shown(encoder, selection):
    pane = MapPane(encoder, selection=selection, land_only=False)
    (inside,) = [c.inside for c in pane.downloads() if c.label == "GeoTIFF"]
    assert "1,440 × 720" in inside
    assert "sea" not in inside


def test_a_page_is_given_of_encoders_that_it_can_run_alone(
    tiny_encoder, encoder, selection, monkeypatch
):
    monkeypatch.setattr(page, "html_bytes", lambda it, start: f"{it.name}{start}".encode())
    choices = MapPane(tiny_encoder, selection=selection).downloads()
    assert made(choices, "Web page") == b"tiny-l5(13.4, 52.5)"
    assert "Web page" not in [choice.label for choice in MapPane(encoder).downloads()]


def test_the_place_is_given_as_one_row(encoder, selection, monkeypatch):
    choices = EmbeddingPane(encoder, selection=selection).downloads()
    row = pd.read_csv(io.BytesIO(made(choices, "CSV")), comment="#")
    _, found = run(choices, monkeypatch)
    np.testing.assert_allclose(row.iloc[0, 2:].to_numpy(float), found[0], rtol=1e-6)


def test_neighbors_are_given_as_tables_and_their_cell_finds_them(
    encoder, selection, layer, monkeypatch
):
    pane = NeighborsPane(encoder, selection=selection, n_neighbors=5, region="Africa")
    with pytest.raises(ValueError, match="no places to download"):
        pane.downloads()
    pane.search()
    choices = pane.downloads()
    table = pd.read_csv(io.BytesIO(made(choices, "CSV")), comment="#")
    parquet = pd.read_parquet(io.BytesIO(made(choices, "GeoParquet")))
    for found in (table, parquet, run(choices, monkeypatch)[1]):
        np.testing.assert_allclose(found[["lon", "lat"]], pane.found[["lon", "lat"]])
    places = layer(made(choices, "GeoPackage"))
    assert places.crs == "EPSG:4326"
    assert places["country"].tolist() == pane.found["country"].tolist()


def test_similarity_is_given_in_numbers_and_in_colors(encoder, selection, opened, monkeypatch):
    pane = SimilarityPane(encoder, selection=selection, resolution=5.0, threshold=0.4)
    choices = pane.downloads()
    bands, tags, _ = opened(made(choices, "GeoTIFF"))
    assert json.loads(tags["place"]) == list(PLACE)
    np.testing.assert_allclose(bands[0], pane.field().to_numpy(), atol=1e-5)
    found = run(choices, monkeypatch)[0]["field"].to_numpy()
    np.testing.assert_array_equal(found, bands[0])
    png = made(choices, "PNG")
    alpha = np.array(Image.open(io.BytesIO(png)))[..., 3]
    np.testing.assert_array_equal(alpha > 0, bands[0] >= 0.4)
    assert provenance_of_png(png)["threshold"] == "0.4"


def test_encoders_are_given_side_by_side(encoder, monkeypatch):
    monkeypatch.setattr(world, "WORLD_RESOLUTION", 5.0)
    compare = partial(sx.compare_encoders, n_samples=300)
    monkeypatch.setattr(sx, "compare_encoders", compare, raising=False)
    pane = ComparePane(encoder, ["harmonics-l5", "xyz"])
    with pytest.raises(ValueError, match="two to four"):
        compare_downloads.offer(pane)
    pane.offer(load_encoder("xyz"))
    pane.comparison = compare(["harmonics-l5", "xyz"])
    choices = compare_downloads.offer(pane)
    assert provenance_of_png(made(choices, "PNG of xyz"))["encoder"] == "xyz"
    pairs = pd.read_csv(io.BytesIO(made(choices, "CSV of pairs")), comment="#")
    found = run(choices, monkeypatch)[1]
    np.testing.assert_allclose(found.pairs["cka"], pairs["cka"], atol=1e-6)


def probed(pane):
    pane.start()
    pane._background.wait(120)
    assert pane.message == ""
    return probe_downloads.offer(pane)


def test_a_probe_of_classes_gives_rasters_scores_and_the_cell_that_trains_it(
    encoder, opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(probe_downloads, "RESOLUTION", 10.0)
    monkeypatch.setattr("satclip_explore.panes.probe.pane.RESOLUTION", 10.0)
    places = sx.load_atlas().places.iloc[:400]
    content = places[["lon", "lat", "continent"]].to_csv(index=False).encode()
    (tmp_path / "it's mine.csv").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    pane = ProbePane(encoder, seeds=1, hold_out="South America", shots=0.2)
    pane.upload(Dropped(content, "it's mine.csv"))
    with pytest.raises(ValueError, match="press Train"):
        probe_downloads.offer(pane)
    choices = probed(pane)
    codes, tags, _ = opened(made(choices, "GeoTIFF"))
    land = land_mask(Grid.from_resolution(10.0))
    chances, _, _ = opened(made(choices, "GeoTIFF of probabilities"))
    assert len(chances) == len(pane.result.task.classes)
    np.testing.assert_allclose(chances[:, land].sum(axis=0), 1.0, atol=1e-5)
    assert np.isnan(chances[:, ~land]).all()
    np.testing.assert_array_equal(chances[:, land].argmax(axis=0), codes[0, land])
    unsure, _, _ = opened(made(choices, "GeoTIFF of entropy"))
    assert (unsure[0, land] >= 0.0).all()
    assert tags["encoder"] == "harmonics-l5"
    assert Image.open(io.BytesIO(made(choices, "PNG"))).size == (36, 18)
    names, result = run(choices, monkeypatch)
    pd.testing.assert_frame_equal(result.metrics, pane.result.metrics)
    np.testing.assert_array_equal(names["field"].to_numpy()[land], codes[0, land])
    scores = pd.read_csv(io.BytesIO(made(choices, "CSV of scores")), comment="#")
    assert scores["encoder"].tolist() == result.metrics.index.tolist()
    assert made(choices, "Probe")[:100].find(b"{") >= 0


def test_polygons_of_ones_own_come_back_with_predictions(encoder, layer, tmp_path, monkeypatch):
    geopandas = pytest.importorskip("geopandas")
    shapely = pytest.importorskip("shapely")
    monkeypatch.setattr("satclip_explore.panes.probe.pane.RESOLUTION", 10.0)
    west = np.arange(-100.0, 100.0, 5.0)
    frame = geopandas.GeoDataFrame(
        {"yield": west / 10.0}, geometry=[shapely.box(x, 10, x + 4, 14) for x in west],
        crs="EPSG:4326",
    )  # fmt: skip
    frame.to_file(tmp_path / "fields.geojson")
    pane = ProbePane(encoder, seeds=1, hold_out="random", column="yield")
    content = Dropped((tmp_path / "fields.geojson").read_bytes(), "fields.geojson")
    pane.upload(content)
    choices = probed(pane)
    found = layer(made(choices, "GeoPackage of polygons"))
    assert len(found) == len(frame)
    assert {"yield", "prediction", "spread"} <= set(found)
    assert set(found.geom_type) == {"Polygon"}
    monkeypatch.chdir(tmp_path)
    result = run(choices, monkeypatch)[1]
    pd.testing.assert_frame_equal(result.metrics, pane.result.metrics)


def test_a_table_is_given_with_its_embeddings_and_a_cell_that_reads_it_so_again(
    encoder, tmp_path, monkeypatch
):
    content = b"a,b,value\n392000,5820000,1\n393000,5821000,2\n"
    (tmp_path / "plots.csv").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    pane = TablePane(encoder)
    with pytest.raises(ValueError, match="drop a file first"):
        pane.downloads()
    pane.take(Dropped(content, "plots.csv"))
    pane.param.update(lon="a", lat="b", crs="EPSG:25833")
    choices = pane.downloads()
    table = pd.read_csv(io.BytesIO(made(choices, "CSV")), comment="#")
    assert table.shape == (2, 2 + 1 + encoder.embed_dim)
    pd.testing.assert_frame_equal(run(choices, monkeypatch)[1], table, check_dtype=False)


def test_the_cell_of_a_sample_reads_the_sample():
    for name, make in SAMPLES.items():
        pd.testing.assert_frame_equal(eval(SAMPLE_CODE[name], {"sx": sx}), make())


def test_labels_are_given_with_their_map(encoder, opened, monkeypatch):
    pane = LabelsPane(encoder, resolution=10.0)
    with pytest.raises(ValueError, match="click some places"):
        offer_labels(pane)
    pane.label(-60.0, -5.0)
    assert "GeoTIFF" not in [choice.label for choice in offer_labels(pane)]
    pane.current = "desert"
    pane.label(15.0, 25.0)
    choices = offer_labels(pane)
    table = pd.read_csv(io.BytesIO(made(choices, "CSV")), comment="#")
    assert table["label"].tolist() == ["forest", "desert"]
    bands, _, _ = opened(made(choices, "GeoTIFF"))
    found = run(choices, monkeypatch)[0]["field"].to_numpy()
    np.testing.assert_array_equal(bands[0].astype(int), found.astype(int))


def test_a_menu_computes_what_is_chosen_and_nothing_before(monkeypatch):
    asked = []
    listed = [
        Choice("CSV", "a table", "a.csv", lambda check: asked.append(check()) or b"1,2\n"),
        Choice("Copy as code", "a cell", code="1 + 1"),
        Choice("PNG", "a picture", "a.png", lambda _: (_ for _ in ()).throw(ImportError("pip"))),
    ]
    menu = DownloadMenu(lambda: listed)
    sent = []
    monkeypatch.setattr(menu, "_send_msg", sent.append)
    for message in ({"take": 0}, {"take": True}, {"take": -1}, "open", {"open": True}):
        menu._handle_msg(message)
    assert asked == []
    (message,) = sent
    assert [choice["code"] for choice in message["choices"]] == ["", "1 + 1", ""]
    for take in (0, 1, 2, 3):
        menu._handle_msg({"take": take})
        menu._background.wait(10)
    assert asked == [None]
    assert sent[1]["filename"] == "a.csv"
    assert base64.b64decode(sent[1]["content"]) == b"1,2\n"
    assert sent[2:] == [{"problem": "pip"}]


def test_a_menu_says_why_there_is_nothing(monkeypatch):
    def offer():
        raise ValueError("press Train first.")

    menu = DownloadMenu(offer)
    sent = []
    monkeypatch.setattr(menu, "_send_msg", sent.append)
    menu._handle_msg({"open": True})
    assert sent == [{"problem": "press Train first."}]


def test_cells_are_python_whatever_stands_in_them(tiny_encoder):
    tiny_encoder.name = "it's\n__import__('os')"
    code = cells.cell({"encoder": tiny_encoder}, cells.call("f", "a'b", np.float32(1), (2,)))
    names: dict[str, object] = {"f": lambda *given: given}
    assert "import os" not in code
    exec(code.replace("import satclip_explore as sx", ""), names)
    assert names["encoder"] is ...
    assert stem("../a b/ü", 1) == "a-b-ü-1"
    wide = cells.call("f", **{f"name_{i}": "x" * 20 for i in range(5)})
    assert all(len(line) < 50 for line in wide.splitlines())
