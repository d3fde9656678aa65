"""A file of somebody's own: the report, corrections, and where it goes."""

from __future__ import annotations

import pytest

from satclip_explore.explorer import Explorer
from satclip_explore.panes.table import pane as table_pane
from satclip_explore.panes.table.pane import TablePane
from satclip_explore.panes.uploads import SAMPLES

GERMAN = (
    "Name;Länge;Breite;Ertrag\n<b>Hof</b>;13,4;52,5;7,25\nGut;11,6;48,1;6,5\nAlm;x;47;1\n"
).encode("cp1252")


@pytest.fixture
def pane(tiny_encoder) -> TablePane:
    return TablePane(tiny_encoder)


def test_what_was_read_is_said_and_shown_as_text_before_anything_is_computed(pane):
    assert "Drop a file" in pane.report()
    pane.take(GERMAN)
    report = pane.report()
    assert "2 points of 3 rows" in report
    assert "left out" in report
    assert "Länge" in report
    assert "<b>Hof" not in pane.preview()
    assert "&lt;b&gt;Hof" in pane.preview()
    assert "7.25" in pane.preview()
    assert pane.points().dimension_values("lon").tolist() == [13.4, 11.6]


def test_a_column_and_a_coordinate_system_are_corrected_on_the_page(pane):
    pane.take(b"a,b,value\n392000,5820000,1\n393000,5821000,2\n")
    assert pane.reading is None
    assert pane.message
    pane.param.update(lon="a", lat="b", crs="EPSG:25833")
    assert pane.message == ""
    assert pane.reading.lonlat[0] == pytest.approx((13.4, 52.5), abs=0.1)
    # The next file starts from the beginning.
    pane.take(GERMAN)
    assert (pane.lon, pane.lat, pane.crs) == ("", "", "")
    assert len(pane.reading) == 2


def test_colors_follow_the_column_and_what_it_holds(pane):
    pane.sample("places and their biomes")
    pane.column = "biome"
    assert "Deserts" in pane.legend()
    assert len(set(pane.points().dimension_values("color", expanded=True))) > 4
    pane.column = "elevation_m"
    assert "linear-gradient" in pane.legend()
    pane.kind = "classification"
    assert "gray" in pane.legend()


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_files_are_read_whole(pane, name):
    pane.sample(name)
    assert len(pane.reading) == len(SAMPLES[name]())
    assert pane.message == ""


def test_more_rows_than_a_page_embeds_are_left_to_python(pane, monkeypatch):
    pane.take(GERMAN)
    assert "2 rows" in pane.downloads()[0].inside
    monkeypatch.setattr(table_pane, "MOST_EMBEDDED", 1)
    (only,) = pane.downloads()
    assert "2 rows are more than the 1 that this page embeds" in only.inside
    assert "embed_frame" in only.code


def test_a_file_goes_on_to_the_probe_and_to_labels(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.data.probe()
    assert "choose a file" in explorer.data.message
    explorer.data.sample("weather stations")
    explorer.data.column = "temperature_c"
    explorer.data.probe()
    assert explorer.tab == "probe"
    assert explorer.probe.chosen_task().name == "temperature_c"
    assert "1,0" in explorer.probe.about
    explorer.data.take(b"lon,lat,cover\n1,2,forest\n3,4,lake\n")
    explorer.data.label()
    assert explorer.tab == "label"
    assert explorer.label.labels == [(1.0, 2.0, "forest"), (3.0, 4.0, "lake")]


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"PK\x03\x04nothing", b"a,b\n1,2\n"])
def test_what_cannot_be_read_gives_a_sentence(pane, content):
    pane.take(content)
    assert pane.reading is None
    assert pane.message
