"""One HTML file with an encoder in it: what it holds, and what it refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("PIL")

import satclip_explore as sx
from satclip_explore.webpage import page


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(page, "TEXTURE_DEGREES", 3.0)
    monkeypatch.setattr(page, "STEPS", (6.0,))


def facts(content):
    block = re.search(r'<script type="application/json" id="facts">(.*?)</script>', content)
    return json.loads(block[1])


def test_a_page_is_one_file_that_may_fetch_nothing(tmp_path, tiny_encoder):
    path = sx.to_html(tiny_encoder, tmp_path / "page.html", start=(13.4, 52.5))
    content = path.read_text("utf-8")
    assert len(content) < page.MAX_BYTES
    assert "default-src 'none'; img-src data:" in content
    assert not re.search(r"(src|href)=|https?://|@import|fetch\(|XMLHttp", content)
    held = facts(content)
    assert held["start"] == [13.4, 52.5]
    assert held["legendre_polys"] == tiny_encoder.legendre_polys
    assert tiny_encoder.weights_hash in content


def test_weights_take_16_bits_only_where_they_lose_nothing(tmp_path, tiny_encoder):
    assert facts(sx.to_html(tiny_encoder, tmp_path / "a.html").read_text())["weight_bits"] == 32
    tiny_encoder.network.half().float()
    assert facts(sx.to_html(tiny_encoder, tmp_path / "a.html").read_text())["weight_bits"] == 16


def test_the_vectors_that_are_compared_point_as_the_encoders_do(tmp_path, tiny_encoder):
    import base64

    grid = facts(sx.to_html(tiny_encoder, tmp_path / "a.html").read_text())["grid"]
    places = np.frombuffer(base64.b64decode(grid["places"]), "<i2").reshape(-1, 2) / 100
    stored = np.frombuffer(base64.b64decode(grid["vectors"]), "i1").reshape(len(places), -1)
    expected = tiny_encoder.embed(places)
    cosine = (stored * expected).sum(1)
    cosine = (
        cosine / np.linalg.norm(stored.astype(float), axis=1) / np.linalg.norm(expected, axis=1)
    )
    # Rounding to 1/254 of the largest number turns a vector by less than a degree.
    assert cosine.min() > np.cos(np.radians(1))


@pytest.mark.parametrize(
    "bad", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>"]
)
def test_markup_in_names_stays_text(tmp_path, tiny_encoder, bad):
    tiny_encoder.name = bad
    content = sx.to_html(tiny_encoder, tmp_path / "page.html", title=bad).read_text("utf-8")
    assert bad not in content
    assert content.count("<script") == 2


def test_what_has_no_siren_or_no_room_is_refused_in_a_sentence(tmp_path, tiny_encoder, monkeypatch):
    with pytest.raises(
        ValueError, match="a page runs encoders of harmonics and a Siren; xyz is of"
    ):
        sx.to_html(sx.load_encoder("xyz"), tmp_path / "page.html")
    monkeypatch.setattr(page, "MAX_BYTES", 200_000)
    with pytest.raises(ValueError, match=r"a page may have 0\.2 MB and"):
        sx.to_html(tiny_encoder, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
