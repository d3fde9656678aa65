"""The dashboard as objects: switching encoders, turning pages, following an address."""

from __future__ import annotations

import holoviews as hv
import panel as pn
import param
import pytest

from satclip_explore.explorer import TABS, Explorer
from satclip_explore.notebook import explore
from satclip_explore.panes.served.server import threads
from satclip_explore.shared_encoders import load_once


class Location(param.Parameterized):
    search = param.String("")
    entries = param.Integer(0)
    copied = param.Integer(0)


def test_one_selection_is_shared_and_two_explorers_have_their_own(tiny_encoder):
    a, b = Explorer(tiny_encoder), Explorer(tiny_encoder)
    assert {id(pane.selection) for pane in a.panes} == {id(a.selection)}
    a.selection.select(1.0, 2.0)
    assert b.selection.lonlat != (1.0, 2.0)


def test_switching_the_encoder_reaches_every_pane(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.pages()
    explorer.encoder_name = "xyz"
    explorer._background.wait(30)
    assert {pane.encoder.name for pane in explorer.panes} == {"xyz"}
    explorer.encoder_name = tiny_encoder.name
    assert {pane.encoder.name for pane in explorer.panes} == {tiny_encoder.name}


def test_an_encoder_that_cannot_be_loaded_gives_a_sentence_and_the_old_one_stays(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.param.encoder_name.objects = [*explorer._names(), "satclip-vit16-l40"]
    explorer.encoder_name = "satclip-vit16-l40"
    explorer._background.wait(30)
    assert explorer.message
    assert explorer.encoder_name == tiny_encoder.name
    assert explorer.pca.encoder is tiny_encoder


def test_a_page_is_built_when_it_is_first_opened(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.tab = "train"
    pages = explorer.pages()
    assert [page.visible for page in pages] == [name == "train" for name in TABS]

    def built():
        return {page.name for page in pages if "Opening" not in str(getattr(page[0], "object", ""))}

    assert built() == {"train"}
    explorer.tab = "label"
    assert [page.visible for page in pages] == [name == "label" for name in TABS]
    assert built() == {"train", "label"}


def test_an_address_is_followed_key_by_key(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    location = Location(search="?at=1,2&tab=label&encoder=/etc/passwd&apart=<b>")
    explorer.follow_address(location)
    assert explorer.selection.lonlat == (1.0, 2.0)
    assert explorer.tab == "label"
    assert "encoder that is not on this machine" in explorer.message
    assert "'apart'" in explorer.message
    assert "<b>" not in explorer.message
    explorer.selection.select(3.0, 4.0)
    assert location.search == "?tab=label&at=3,4"


def test_explore_takes_a_name():
    assert explore("xyz").pca.encoder.name == "xyz"


def test_a_link_with_another_encoder_has_it_in_every_pane_before_anything_is_drawn(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    location = Location(search="?encoder=xyz&at=1,2")
    explorer.follow_address(location)
    assert {pane.encoder.name for pane in explorer.panes} == {"xyz"}
    assert explorer.message == ""
    assert explorer.neighbors.table().attrs["encoder"] == "xyz"


def test_two_visitors_have_options_of_their_own(tiny_encoder):
    first = Explorer(tiny_encoder)
    first.param.encoder_name.objects = [*first._names(), "my-secret-run"]
    second = Explorer(load_once("xyz"))
    assert "my-secret-run" not in second._names()
    assert tiny_encoder.name not in second._names()
    assert Explorer.param.encoder_name.objects == []
    assert first.encoder_name == tiny_encoder.name


@pytest.mark.parametrize(("flag", "asked"), [(None, {"nthreads": 4}), (2, {}), (0, {})])
def test_the_flag_for_threads_is_respected(flag, asked, monkeypatch):
    monkeypatch.setattr(type(pn.config), "nthreads", flag)
    assert threads() == asked


def test_the_same_weights_are_one_object_in_the_process():
    assert load_once("mini-l10") is load_once("mini-l10")


def test_raster_map_and_place_share_one_color_code(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.pca.param.update(components=(3, 4, 5), stretch=5.0, land_only=False)
    for pane in (explorer.map, explorer.embedding):
        assert (pane.components, pane.stretch, pane.land_only) == ((3, 4, 5), 5.0, False)
    assert "PC4" in explorer.embedding.view()
    assert "PC1" not in explorer.embedding.view()


def test_a_link_restores_view_threshold_rows_and_settings(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    search = "?view=0,10,40,30&cut=0.5&rows=20&opacity=0.25&predict=country&test=Asia&runs=5"
    explorer.follow_address(Location(search=search))
    assert explorer.message == ""
    assert explorer.similarity.threshold == 0.5
    assert explorer.neighbors.n_neighbors == 20
    assert explorer.map.opacity == 0.25
    assert (explorer.probe.task, explorer.probe.hold_out, explorer.probe.seeds) == (
        "country", "Asia", 5)  # fmt: skip
    figure = hv.render(explorer.pca.view())
    assert (figure.x_range.start, figure.x_range.end) == (0.0, 40.0)
    assert (figure.y_range.start, figure.y_range.end) == (10.0, 30.0)
    other = Explorer(tiny_encoder)
    other.follow_address(Location(search="?rows=2.5"))
    assert "'rows'" in other.message
