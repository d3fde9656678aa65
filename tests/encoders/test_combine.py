"""Encoders made of encoders: against plain numpy, on grids, and from a folder again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import satclip_explore as sx
from satclip_explore.atlas import load_atlas
from satclip_explore.encoders import combine
from satclip_explore.encoders.base import Readout
from satclip_explore.encoders.combine import concat, prefix, stack
from satclip_explore.encoders.custom import from_callable
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.encoders.table import from_table
from satclip_explore.geo import Grid
from satclip_explore.provenance import provenance


@pytest.fixture
def pair(tiny_encoder):
    return [tiny_encoder, load_encoder("xyz")]


@pytest.fixture
def island():
    """A table that covers 300 km around ten places of the atlas."""
    lonlat = load_atlas().lonlat[:10]
    return from_table(lonlat, np.arange(20.0).reshape(10, 2), max_distance_km=300, name="island")


def test_parts_stand_side_by_side_each_with_the_same_weight(pair, places):
    joined = sx.concat(pair)
    assert (joined.name, joined.family, joined.embed_dim) == ("tiny-l5 + xyz", "concat", 11)
    sample = load_atlas().lonlat
    expected = []
    for encoder in pair:
        known, x = encoder.embed(sample).astype(float), encoder.embed(places).astype(float)
        expected.append((x - known.mean(0)) / known.std(0) / np.sqrt(known.shape[1]))
    np.testing.assert_allclose(joined.embed(places), np.hstack(expected), rtol=0, atol=1e-5)
    over_land = joined.embed(sample).astype(float)
    for columns in (slice(0, 8), slice(8, 11)):
        # Squared distances between two random places: 2 for every part, whatever its length.
        assert over_land[:, columns].var(axis=0).sum() == pytest.approx(1.0, abs=1e-4)
    assert joined.embed((13.4, 52.5)).shape == (1, 11)


def test_only_what_all_cover_is_covered(tiny_encoder, island):
    joined = concat([tiny_encoder, island], places=load_atlas().lonlat)
    inside, outside = load_atlas().lonlat[0], (0.0, -90.0)
    assert joined.coverage([inside, outside]).tolist() == [True, False]
    x = joined.embed([inside, outside])
    assert np.isfinite(x[0]).all()
    assert np.isnan(x[1]).all()
    grid = Grid((-180.0, -90.0, 180.0, 90.0), (18, 36))
    rows = torch.cat([block for _, block in joined.iter_grid(grid)]).reshape(-1, 10)
    np.testing.assert_array_equal(rows.isnan().any(1).numpy(), ~joined.coverage(grid.lonlat))
    assert rows.isnan().all(1).sum() == rows.isnan().any(1).sum()


@pytest.mark.parametrize("values", [100, 16_000_000])
def test_grids_are_made_of_their_pixels(pair, monkeypatch, values):
    monkeypatch.setattr(combine, "BAND_VALUES", values)
    joined = concat(pair)
    grid = Grid((150.0, -90.0, 210.0, 90.0), (7, 4))
    expected = joined.embed(grid.lonlat)
    spans = [rows for rows, _ in joined.iter_grid(grid)]
    assert [row for rows in spans for row in range(rows.start, rows.stop)] == list(range(7))
    got = torch.cat([block for _, block in joined.iter_grid(grid)]).reshape(28, -1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-5)
    rng = np.random.default_rng(0)
    readout = Readout(rng.normal(size=(3, 11)), rng.normal(size=3))
    folded = torch.cat([block for _, block in joined.iter_grid(grid, readout)]).reshape(28, -1)
    by_hand = expected @ readout.weight.T + readout.bias
    np.testing.assert_allclose(folded.numpy(), by_hand, rtol=0, atol=1e-5)
    short = prefix(joined, 9)
    part = Readout(readout.weight[:, :9], readout.bias)
    folded = torch.cat([block for _, block in short.iter_grid(grid, part)])
    by_hand = expected[:, :9] @ readout.weight[:, :9].T + readout.bias
    np.testing.assert_allclose(folded.reshape(28, -1).numpy(), by_hand, rtol=0, atol=1e-5)


def test_a_prefix_keeps_the_first_numbers(tiny_encoder, places):
    short = prefix(tiny_encoder, 3)
    np.testing.assert_array_equal(short.embed(places), tiny_encoder.embed(places)[:, :3])
    assert (short.name, short.embed_dim) == ("tiny-l5:dim3", 3)
    assert load_encoder("harmonics-l10", dim=4).embed(places).shape == (8, 4)
    both = load_encoder("random-l7", layer=0, dim=5)
    assert (both.name, both.embed_dim) == ("random-l7:layer0:dim5", 5)
    for dim in (0, 9, 2.0, True):
        with pytest.raises(ValueError, match="dim must lie in 1 … 8"):
            prefix(tiny_encoder, dim)


def test_a_stack_is_the_ridge_regression_of_its_task(pair):
    sklearn = pytest.importorskip("sklearn.linear_model")
    places = load_atlas().lonlat[:400]
    y = np.cos(np.radians(places[:, 1])) + 0.1 * places[:, 0]
    learned = stack(pair, places, y, alpha=0.01)
    x = concat(pair, places=places).embed(places).astype(float)
    penalty = 0.01 * ((x - x.mean(0)) ** 2).sum() / x.shape[1]
    ridge = sklearn.Ridge(alpha=penalty).fit(x, y)
    np.testing.assert_allclose(learned.embed(places)[:, 0], ridge.predict(x), rtol=0, atol=1e-3)
    assert learned.embed_dim == 1
    assert learned.name == "stack(tiny-l5 + xyz)"


def test_a_stack_of_classes_has_one_number_each(pair):
    class Task:
        lonlat = load_atlas().lonlat[:300]
        target = np.where(lonlat[:, 1] > 40, "north", np.where(lonlat[:, 1] < 0, "south", "middle"))

    learned = stack(pair, Task())
    x = learned.embed(Task.lonlat)
    assert x.shape == (300, 3)
    # Shares of classes sum to 1 in a linear map as well.
    np.testing.assert_allclose(x.sum(axis=1), 1.0, rtol=0, atol=1e-4)
    found = np.array(["middle", "north", "south"])[x.argmax(axis=1)]
    assert (found == Task.target).mean() > 0.8


def test_a_folder_gives_the_same_combination(tmp_path, pair, places):
    joined = concat([*pair, load_encoder("random-l7", layer=0, dim=4)])
    folder = joined.save(tmp_path / "both")
    again = load_encoder(folder)
    np.testing.assert_array_equal(again.embed(places), joined.embed(places))
    assert again.name == joined.name
    loaded = concat([load_encoder("random-l7"), load_encoder("xyz")])
    assert load_encoder(loaded.save(tmp_path / "named")).weights_hash == loaded.weights_hash
    listed = json.loads((folder / "config.json").read_text())["parts"]
    assert listed[1]["load"] == {"name_or_path": "xyz"}
    assert listed[2]["load"] == {"name_or_path": "random-l7", "layer": 0, "dim": 4}
    learned = stack([joined], load_atlas().lonlat[:50], load_atlas().lonlat[:50, 1])
    nested = load_encoder(learned.save(tmp_path / "learned"))
    np.testing.assert_array_equal(nested.embed(places), learned.embed(places))


def test_results_say_what_they_are_made_of(pair):
    facts = provenance(concat(pair))
    assert facts["encoder"] == "tiny-l5 + xyz"
    assert "tiny-l5" in facts["encoder_parts"]
    assert "xyz none" in facts["encoder_parts"]
    assert "encoder_parts" not in provenance(pair[0])


def test_what_cannot_be_combined_gets_one_sentence(tmp_path, pair, tiny_encoder, island):
    with pytest.raises(ValueError, match="at least one encoder"):
        concat([])
    with pytest.raises(ValueError, match=r"0 of 20000 sampled places are covered by all of"):
        concat([tiny_encoder, from_table([(0.0, -60.0)], [[1.0]], max_distance_km=1.0)])
    with pytest.raises(ValueError, match="one row per place, 2; got"):
        stack(pair, [(0, 0), (1, 1)], [1.0])
    with pytest.raises(ValueError, match="alpha must be above 0"):
        stack(pair, [(0, 0)], [1.0], alpha=0)
    with pytest.raises(ValueError, match="cannot be stored"):
        concat([tiny_encoder, from_callable(lambda x: x)]).save(tmp_path / "custom")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("parts"), "lists no parts"),
        (lambda c: c.update(parts=["x"]), "lists no parts"),
        (lambda c: c["parts"][1]["load"].update(hue=1), "says how to load a part wrongly"),
        (lambda c: c["parts"][1].update(weights_hash="0" * 16), "other weights than the part"),
        (lambda c: c["parts"].pop(), "must have shape"),
        (lambda c: c["parts"][0].update(folder="../../elsewhere"), "no file or folder"),
    ],
)
def test_a_changed_folder_gets_one_sentence(tmp_path, pair, edit, message):
    folder = concat(pair).save(tmp_path / "both")
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_encoder(folder)
