"""Map tiles beside the page: painted once, refused in a sentence."""

from __future__ import annotations

import importlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from satclip_explore.panes import world
from satclip_explore.panes.pca import PCAPane
from satclip_explore.panes.served import tiles
from satclip_explore.projection import pca_colors
from satclip_explore.shared_encoders import load_once
from satclip_explore.tiles import TileGrid


def test_a_tile_shows_the_colors_of_the_page_and_is_painted_once():
    first = tiles.paint("xyz.pca", 3, 4, 2)
    assert tiles.paint("xyz.pca", 3, 4, 2) is first
    picture = np.asarray(Image.open(io.BytesIO(first)))
    encoder = load_once("xyz")
    expected = pca_colors(encoder, TileGrid.of(3, 4, 2), world.projection_of(encoder, (0, 1, 2)))
    np.testing.assert_allclose(picture[..., :3].astype(int), expected, rtol=0, atol=2)


@pytest.mark.parametrize("layer", ["xyz", "xyz.rainbow", "../secret.pca", "nobody.pca", ""])
def test_a_layer_that_is_none_is_refused(layer):
    with pytest.raises(LookupError, match="a layer is an encoder"):
        tiles.paint(layer, 0, 0, 0)


def test_the_page_names_the_tiles_of_what_it_shows_where_a_plugin_gives_them(tiny_encoder):
    importlib.reload(tiles)  # as a page does whose server was started without it
    pane = PCAPane(load_once("xyz"), components=(0, 1, 2))
    assert pane.tiles() == ""
    assert tiles.ROUTES
    assert "href='tiles/xyz.pca.json'" in pane.tiles()
    pane.components = (3, 4, 5)
    assert pane.tiles() == "", "no layer has these colors"
    assert PCAPane(tiny_encoder).tiles() == "", "an encoder of one page is on no server"


class TestServer(AsyncHTTPTestCase):
    def get_app(self):
        return Application(tiles.ROUTES)

    def test_tilejson_leads_to_its_tiles(self):
        facts = json.loads(self.fetch("/tiles/xyz.pca.json?x=1").body)
        address = facts["tiles"][0].format(z=1, x=0, y=1)
        assert address == self.get_url("/tiles/xyz.pca/1/0/1.png")
        answer = self.fetch("/tiles/xyz.pca/1/0/1.png")
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert Image.open(io.BytesIO(answer.body)).size == (256, 256)

    def test_what_is_no_tile_is_refused_in_a_sentence(self):
        for path, words in (
            ("xyz.pca/1/2/0.png", b"a tile needs"),
            ("xyz.pca/99/0/0.png", b"a tile needs"),
            ("no%25s.pca/1/0/0.png", b""),
            ("nobody.pca/1/0/0.png", b"a layer is an encoder"),
        ):
            answer = self.fetch(f"/tiles/{path}")
            assert answer.code == 404
            assert words in answer.body
            assert b"Traceback" not in answer.body

    def test_too_many_at_a_time_are_sent_away(self):
        tiles._State.waiting = tiles.MOST_WAITING
        try:
            answer = self.fetch("/tiles/xyz.pca/2/0/1.png")
        finally:
            tiles._State.waiting = 0
        assert answer.code == 503
        assert b"ask again" in answer.body
