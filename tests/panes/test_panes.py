"""Panes without a browser: set the selection, read what they return."""

from __future__ import annotations

import threading
import time

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from bokeh.models import LinearColorMapper

from satclip_explore.atlas import land_mask, load_atlas, outlines
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.lattice import Lattice
from satclip_explore.neighbors import atlas_index, has_atlas_index
from satclip_explore.panes import first_look, theme, world
from satclip_explore.panes import neighbors as neighbors_pane
from satclip_explore.panes.base import Selection
from satclip_explore.panes.embedding import EmbeddingPane, climate, strip
from satclip_explore.panes.map import ONLINE, MapPane
from satclip_explore.panes.neighbors import NeighborsPane
from satclip_explore.panes.pca import PCAPane, resample
from satclip_explore.panes.rows import Rows
from satclip_explore.panes.similarity import SimilarityPane
from satclip_explore.progress import Cancelled
from satclip_explore.projection import pca_colors, pca_raster
from satclip_explore.store import RESULTS


@pytest.fixture
def towns() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lon": [0.0, 90.0, 170.0],
            "lat": [0.0, 0.0, 10.0],
            "near": ["Null Island", "Ninety East", "<b>Far</b>"],
        }
    )


def test_neighbors_follow_the_selection(tiny_encoder, towns):
    selection = Selection(lonlat=(0.0, 0.0))
    pane = NeighborsPane(tiny_encoder, towns, selection=selection, min_distance_km=0.0,
                         n_neighbors=1, spacing_km=0.0)  # fmt: skip
    assert pane.table()["near"].item() == "Null Island"
    selection.lonlat = (90.0, 0.0)
    assert pane.table()["near"].item() == "Ninety East"


def test_neighbors_are_marked_for_the_map_and_escaped_in_the_table(tiny_encoder, towns):
    pane = NeighborsPane(tiny_encoder, towns, min_distance_km=0.0, spacing_km=0.0)
    pane.search()
    markup = pane.view()
    assert "<b>Far" not in markup
    assert "&lt;b&gt;Far" in markup
    assert len(pane.selection.marks) == 3
    assert {mark[2][:2] for mark in pane.selection.marks} == {"1.", "2.", "3."}


def test_a_search_under_way_is_stopped_when_the_encoder_is_switched(tiny_encoder, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def endless(_, check):
        begun.set()
        try:
            while True:
                check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(neighbors_pane, "served_page", lambda: "a page")
    monkeypatch.setattr(neighbors_pane, "has_atlas_index", lambda encoder: encoder is tiny_encoder)
    monkeypatch.setattr(neighbors_pane, "atlas_index", endless)
    pane = NeighborsPane(load_encoder("xyz"))
    pane.__panel__()
    assert begun.wait(10)
    assert pane.busy
    pane.encoder = tiny_encoder
    assert ended.wait(10)
    assert pane.busy == ""
    pd.testing.assert_frame_equal(pane.found, pane.table())


def test_encoding_the_places_to_search_can_be_stopped(tiny_encoder):
    asked = []

    def check():
        asked.append(len(asked))
        if len(asked) > 2:
            raise Cancelled("stopped")

    tiny_encoder.chunk_size = 1000
    with pytest.raises(Cancelled):
        atlas_index(tiny_encoder, check)
    assert not has_atlas_index(tiny_encoder)
    whole = tiny_encoder.embed(load_atlas().lonlat)
    unit = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(atlas_index(tiny_encoder).unit.numpy(), unit, atol=1e-6)


def test_an_unknown_region_gives_a_sentence_and_no_marks(tiny_encoder, towns):
    pane = NeighborsPane(tiny_encoder, towns, min_distance_km=0.0, spacing_km=0.0)
    pane.__panel__()
    assert len(pane.selection.marks) == 3
    pane.region = "Atlantis<script>"
    assert "Atlantis" in pane.message
    assert "<script>" not in pane.sentences()
    assert pane.selection.marks == []


def test_the_embedding_follows_the_selection_and_the_encoder(tiny_encoder):
    pane = EmbeddingPane(tiny_encoder, selection=Selection(lonlat=(13.4, 52.5)))
    expected = tiny_encoder.embed([(13.4, 52.5)])[0]
    np.testing.assert_array_equal(pane.numbers(), expected)
    summary = pane.summary(pane.numbers())
    assert summary["norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert summary["color"].shape == (3,)
    markup = pane.view()
    assert "52.50° N, 13.40° E" in markup
    assert "Germany" in markup
    assert markup.count("<rect") == tiny_encoder.embed_dim


def test_the_open_sea_has_no_facts(tiny_encoder):
    pane = EmbeddingPane(tiny_encoder, selection=Selection(lonlat=(-30.0, 30.0)))
    assert "Open sea" in pane.view()
    assert "Biome" not in pane.view()


def test_a_strip_draws_every_number_even_when_all_are_zero():
    assert strip(np.zeros(5)).count("<rect") == 5
    assert "+2.0000" in strip(np.array([2.0, -1.0]))


def test_a_view_has_the_pixels_of_the_screen_and_stays_on_the_globe(tiny_encoder):
    pane = PCAPane(tiny_encoder)
    grid = pane.grid((-200.0, 20.0), (-100.0, 45.0), 800, 400)
    assert grid.bounds == (-180.0, -90.0, 20.0, 45.0)
    assert grid.shape == (400, 800)
    huge = pane.grid(None, None, 8_000, 4_000)
    assert huge.bounds == GLOBE
    assert huge.shape[0] * huge.shape[1] <= 700_000


def test_a_view_is_coarse_at_once_and_fine_when_the_job_is_done(tiny_encoder):
    pane = PCAPane(tiny_encoder, land_only=False)
    view = {"x_range": (0.0, 40.0), "y_range": (30.0, 50.0), "width": 300, "height": 150}
    coarse = pane.raster(**view)
    assert pane.selection.bounds == GLOBE, "drawing changes nothing that panes share"
    pane.look(view["x_range"], view["y_range"])
    assert pane.selection.bounds == (0.0, 30.0, 40.0, 50.0)
    pane._background.wait(60)
    fine = pane.raster(**view)
    grid = Grid((0.0, 30.0, 40.0, 50.0), (150, 300))
    expected = pca_raster(
        tiny_encoder, grid=grid, projection=world.projection_of(tiny_encoder)
    ).to_numpy()
    shown = np.stack([fine.dimension_values(band, flat=False) for band in "RGB"], axis=-1)
    # Where it is smooth, some pixels are read off between others.
    np.testing.assert_allclose(shown[::-1].astype(int), expected, rtol=0, atol=2)
    blurred = np.stack([coarse.dimension_values(band, flat=False) for band in "RGB"], axis=-1)
    assert blurred.shape == expected.shape
    # Twelve thousand pixels for forty-five thousand: neighbors are a pixel or two away.
    assert np.abs(blurred[::-1].astype(int) - expected).mean() < 8.0
    assert pane.busy == ""


def test_the_kept_globe_is_resampled_the_right_way_up():
    smooth = SatCLIP(Siren(25, 16, 8, seed=0, w0_initial=1.0), 5, name="smooth")
    field = pca_raster(smooth, 1.0)
    grid = Grid((-30.0, 10.0, 30.0, 40.0), (60, 120))
    expected = pca_raster(smooth, grid=grid).to_numpy().astype(int)
    # Harmonics of degree 4 change little within one degree.
    assert np.abs(resample(field.to_numpy(), grid).astype(int) - expected).mean() < 3.0
    assert expected.std() > 10.0


def test_the_picture_that_ships_is_of_the_default_encoder_and_of_no_other(tiny_encoder):
    encoder = load_encoder()
    assert first_look.shipped() == first_look.path_for(encoder)
    colors = first_look.land_of(encoder)
    grid = Grid.from_resolution(world.WORLD_RESOLUTION)
    assert colors.shape == (*grid.shape, 4)
    rows = np.array([80, 250, 400, 560])
    some = Lattice.of(grid, rows, np.arange(grid.shape[1]))
    expected = pca_colors(encoder, some, world.projection_of(encoder), precision="float32")
    land = land_mask(grid)[rows]
    np.testing.assert_array_equal(colors[rows][..., 3] == 255, land)
    assert np.abs(colors[rows][land][:, :3] - expected[land].astype(int)).max() <= 1
    assert first_look.land_of(tiny_encoder) is None
    other = load_encoder(dtype="float64")
    assert first_look.land_of(other) is None


def test_the_first_view_of_the_default_encoder_computes_nothing():
    RESULTS.clear()
    pane = PCAPane(load_encoder())
    first = pane.raster(width=400, height=200)
    assert pane._background._job is None
    shown = np.stack([first.dimension_values(band, flat=False) for band in "RGBA"], axis=-1)[::-1]
    sahara = shown[70, 222]
    assert sahara[3] == 255
    assert sahara[0] > sahara[2] + 40, "sand is yellow"
    pane.raster((0.0, 20.0), (10.0, 20.0), 400, 200)
    assert pane._background._job is not None, "from near there is more to see"
    pane._background.wait(60)


def test_land_only_makes_the_sea_clear():
    grid = Grid(GLOBE, (90, 180))
    colors = np.full((90, 180, 3), 200, dtype=np.uint8)
    alpha = world.rgba(colors, grid, land_only=True)[..., 3]
    np.testing.assert_array_equal(alpha == 255, land_mask(grid))
    assert (world.rgba(colors, grid, land_only=False)[..., 3] == 255).all()


def test_an_encoder_without_enough_coverage_gives_a_sentence(tiny_encoder, monkeypatch):
    pane = PCAPane(tiny_encoder)

    def refuse(*_, **__):
        raise ValueError("covers too little.")

    monkeypatch.setattr(world, "projection_of", refuse)
    pane.raster()
    assert pane.message == "covers too little."


def test_similarity_is_one_at_the_selected_place_and_follows_it(tiny_encoder):
    pane = SimilarityPane(tiny_encoder, resolution=10.0, land_only=False)
    pane.image()
    pane._background.wait(60)
    for place in ((5.0, 5.0), (-85.0, 35.0)):
        pane.selection.lonlat = place
        field = pane.field()
        at = field.sel(lon=place[0], lat=place[1]).item()
        assert at == pytest.approx(1.0, abs=1e-5)
        assert field.max().item() <= 1.0
        np.testing.assert_allclose(
            pane.image().dimension_values("cosine", flat=False)[::-1], field.to_numpy()
        )


def test_the_map_wraps_what_ipyleaflet_reports(tiny_encoder):
    pane = MapPane(tiny_encoder)
    pane._interact(type="click", coordinates=[48.9, -357.7])
    assert pane.selection.lonlat == pytest.approx((2.3, 48.9))
    pane._interact(type="click", coordinates=[95.0, 0.0])
    pane._interact(type="mousemove", coordinates=[0.0, 0.0])
    assert pane.selection.lonlat == pytest.approx((2.3, 48.9))
    assert pane._place.location == [48.9, pytest.approx(2.3)]


def _report(pane, bounds):
    """Let the map say, as a browser does, what it shows: ((south, west), (north, east))."""
    pane.widget.set_trait("bounds", bounds)


def test_the_map_moves_where_it_does_not_show_the_selected_place(tiny_encoder):
    pane = MapPane(tiny_encoder)
    _report(pane, ((-10.0, -10.0), (10.0, 10.0)))
    pane.selection.select(5.0, 5.0)
    assert pane.widget.center == [0.0, 0.0]
    pane.selection.select(151.2, -33.9)
    assert pane.widget.center == [-33.9, 151.2]


def test_map_and_raster_look_at_the_same_part_of_the_earth(tiny_encoder):
    selection = Selection()
    chart, raster = (
        MapPane(tiny_encoder, selection=selection),
        PCAPane(tiny_encoder, selection=selection),
    )
    figure = hv.render(raster.view())
    _report(chart, ((-60.0, -190.0), (60.0, 170.0)))
    assert selection.bounds == GLOBE, "how the browser first draws the map is nobody's wish"
    # The reader moves the map, on its second copy of the globe.
    chart._interact(type="mousemove", coordinates=[5.0, 380.0])
    _report(chart, ((0.0, 370.0), (10.0, 400.0)))
    assert selection.bounds == (10.0, -2.5, 40.0, 12.5), "as wide, in the shape of the raster"
    assert (figure.x_range.start, figure.x_range.end) == (10.0, 40.0)
    assert figure.y_range.end - figure.y_range.start == pytest.approx(15.0)
    # The reader moves the raster.
    zoom = chart.widget.zoom
    raster.look((20.0, 24.0), (2.0, 4.0))
    assert chart.widget.center == [3.0, 22.0]
    assert chart.widget.zoom > zoom
    # What the browser reports of a move of ours, however late, moves nothing.
    seen = selection.bounds
    _report(chart, ((0.0, 10.0), (6.0, 34.0)))
    assert selection.bounds == seen
    raster.whole_world()
    assert selection.bounds == GLOBE
    assert chart.widget.zoom == 0


def test_figures_follow_a_view_and_the_one_that_leads_is_left_alone(tiny_encoder):
    selection = Selection()
    similarity, raster = (kind(tiny_encoder, selection=selection)
                          for kind in (SimilarityPane, PCAPane))  # fmt: skip
    similarity.globe()  # what becomes ready beside the test would draw the figure while it is made
    follows, leads = hv.render(similarity.view()), hv.render(raster.view())
    # As in the legend's gradient: its stops, and what lies between them.
    colors = follows.select_one(LinearColorMapper).palette
    assert (len(colors), tuple(colors[::51])) == (256, theme.SIMILARITY)
    raster.look((0.0, 40.0), (10.0, 30.0))
    assert (follows.x_range.start, follows.x_range.end) == (0.0, 40.0)
    assert (leads.x_range.start, leads.x_range.end) == (-180.0, 180.0)


def test_marks_have_their_numbers_on_the_raster(tiny_encoder):
    pane = PCAPane(tiny_encoder)
    figure = hv.render(pane.view())
    source = figure.select_one({"name": "marks"}).data_source
    pane.selection.marks = [(1.0, 2.0, "1. Here"), (3.0, 4.0, "2. <b>There")]
    assert source.data == {"lon": [1.0, 3.0], "lat": [2.0, 4.0], "number": ["1", "2"]}
    # The ring of the selected place lies over its neighbors.
    levels = {getattr(drawn.glyph, "size", None): drawn.level for drawn in figure.renderers}
    assert (levels[15], levels[17]) == ("annotation", "overlay")


def test_a_neighbor_that_is_clicked_is_selected(tiny_encoder, towns):
    pane = NeighborsPane(tiny_encoder, towns, min_distance_km=0.0, spacing_km=0.0)
    pane.search()
    first = pane.found.iloc[0]
    (rows,) = pane.__panel__().select(Rows)
    rows._handle_msg({"row": 0})
    assert pane.selection.lonlat == (first["lon"], first["lat"])
    for message in ({"row": 99}, {"row": -1}, {"row": "<b>"}, None, {}):
        rows._handle_msg(message)
    assert pane.selection.lonlat == (first["lon"], first["lat"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("Cfb", "temperate, humid all year, warm summer"),
        ("BWh", "desert, hot"),
        ("BSk", "steppe, cold"),
        ("EF", "polar, ice"),
        ("Am", "tropical, monsoon"),
        ("Dwd", "cold, dry winter, severe winter"),
    ],
)
def test_a_climate_class_is_said_in_words(code, words):
    assert climate(code) == words


def test_online_maps_are_layers_only_once_they_are_chosen(tiny_encoder):
    pane = MapPane(tiny_encoder)

    def addresses():
        return [getattr(layer, "url", "") for layer in pane._base.layers]

    assert all(address.startswith("data:") for address in addresses())
    # In one pane of Leaflet's, pictures lie in the order in which the browser loads them.
    assert [layer.pane for layer in pane._base.layers] == ["tilePane"] != [pane._colors.pane]
    name = next(iter(ONLINE))
    pane.base = name
    assert addresses() == [ONLINE[name]["url"]]
    pane.base = "Plain"
    assert addresses() == []


def test_marks_carry_no_words_onto_the_map(tiny_encoder):
    pane = MapPane(tiny_encoder)
    pane.selection.marks = [(10.0, 20.0, "<script>alert(1)</script>")]
    (mark,) = pane._marks.data["features"]
    assert mark["geometry"]["coordinates"] == [10.0, 20.0]
    assert mark["properties"] == {}


def test_detail_has_other_colors_and_says_so(tiny_encoder):
    pane = PCAPane(tiny_encoder)
    grid = Grid.from_resolution(30.0, GLOBE)
    colors = pane.fine(grid)
    pane.components = world.DETAIL
    assert "detail 1" in pane.legend()
    assert "PC1" not in pane.legend()
    assert (pane.fine(grid) != colors).any()


def test_outlines_of_a_map_come_whole_once_one_looks_closely(tiny_encoder):
    pane = MapPane(tiny_encoder)

    def points():
        return sum(map(len, pane._coast.locations))

    pane.widget.zoom = 2
    assert points() < 12_000
    pane.widget.zoom = 3
    # Points on a straight line between others are not sent.
    assert points() > 0.9 * sum(map(len, outlines("countries")))
