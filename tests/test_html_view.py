"""What an object shows of itself in a notebook, with every word of others escaped."""

import json

import pandas as pd
import pytest

from satclip_explore.fields import EmbeddedGrid
from satclip_explore.html_view import facts_table
from satclip_explore.neighbors import NeighborIndex
from satclip_explore.projection import fit_pca
from training.pretraining.checkpoint import RunFolder

EVIL = "<img src=x onerror=alert(1)>"


def test_names_and_values_are_escaped_and_empty_ones_left_out():
    page = facts_table(EVIL, {EVIL: EVIL, "nothing": "", "zero": 0})
    assert "<img" not in page
    assert page.count("&lt;img") == 3
    assert "nothing" not in page
    assert "<td>0</td>" in page


@pytest.fixture
def evil_encoder(tiny_encoder):
    name, tiny_encoder.name = tiny_encoder.name, EVIL
    yield tiny_encoder
    tiny_encoder.name = name


def test_an_encoded_grid_says_how_large_it_is(evil_encoder):
    page = EmbeddedGrid.of(evil_encoder, 30.0)._repr_html_()
    assert "6 × 12" in page
    assert f"<td>{evil_encoder.embed_dim}</td>" in page
    assert "<img" not in page


def test_an_index_names_its_columns_escaped(evil_encoder):
    places = pd.DataFrame({"lon": [0.0], "lat": [0.0], EVIL: [1]})
    page = NeighborIndex.of(evil_encoder, places)._repr_html_()
    assert page.count("&lt;img") == 2
    assert "<img" not in page


def test_a_projection_lists_its_components(tiny_encoder):
    page = fit_pca(tiny_encoder, 2)._repr_html_()
    assert page.count("of the variance") == 2


@pytest.fixture
def run(tmp_path):
    card = {
        "data": {"source": EVIL},
        "training_places": 500,
        "epochs": 2,
        "training_minutes": 0.5,
        "validation": {"recall_at_1": 0.25, "candidates": 1024},
    }
    config = {"format_version": 1, "family": "satclip", "name": EVIL, "legendre_polys": 10,
              "embed_dim": 256, "card": card}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    return RunFolder(tmp_path)


def test_a_run_says_what_it_saw_and_how_well_it_finds_images(run):
    page = run._repr_html_()
    assert "25% of 1,024 unseen images" in page
    assert "<td>500</td>" in page
    assert "<img" not in page
    assert page.count("&lt;img") == 2


@pytest.mark.parametrize("card", [None, 3, {"data": 1, "validation": []}])
def test_a_card_of_another_kind_is_passed_over(run, card):
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"card": card}))
    assert "first try" not in run._repr_html_()


def test_a_folder_without_a_run_is_a_plain_path(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder._repr_html_() is None
    assert (folder / "x").parent == tmp_path
    (tmp_path / "config.json").write_text("[")
    assert folder._repr_html_() is None
