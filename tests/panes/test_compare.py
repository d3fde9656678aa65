"""Encoders side by side without a browser: rasters, CKA, probes, and L as a dial."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest

from satclip_explore.atlas import land_mask
from satclip_explore.comparison import compare_encoders
from satclip_explore.encoders.custom import from_callable
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import GLOBE, Grid, unit_vectors
from satclip_explore.panes import world
from satclip_explore.panes.base import Selection
from satclip_explore.panes.compare import views as compare_views
from satclip_explore.panes.compare.degrees import DEGREES, DegreesPane
from satclip_explore.panes.compare.pane import MOST, ComparePane
from satclip_explore.projection import pca_raster
from satclip_explore.store import RESULTS
from satclip_explore.truncation import truncate_encoder


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(world, "WORLD_RESOLUTION", 4.0)
    monkeypatch.setattr("satclip_explore.panes.compare.pane.RESOLUTION", 4.0)
    monkeypatch.setattr("satclip_explore.panes.compare.degrees.RESOLUTION", 4.0)
    few = functools.partial(compare_encoders, n_samples=500)
    monkeypatch.setattr("satclip_explore.panes.compare.pane.compare_encoders", few)


def ready(pane):
    """Show the pane once and wait for what it computes beside the page."""
    pane.view()
    pane._background.wait(60)
    return pane


def pixels(image):
    return np.stack([image.dimension_values(band, flat=False) for band in "RGB"], axis=-1)[::-1]


def test_two_encoders_are_shown_and_compared(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder))
    assert pane.chosen == ["tiny-l5", "xyz"]
    assert (pane.busy, pane.message) == ("", "")
    assert list(pane.encoders()) == pane.chosen
    expected = compare_encoders([tiny_encoder, load_encoder("xyz")], n_samples=500)
    assert pane.comparison.pairs.equals(expected.pairs)
    markup = pane.statistics()[0][0].object
    assert f"{expected.pairs['cka'].item():.2f}" in markup
    assert f"{expected.pairs['overlap'].item():.0%}" in markup


def test_each_globe_is_that_of_its_encoder(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder, land_only=False))
    for name, encoder in pane.encoders().items():
        projection = world.projection_of(encoder)
        expected = pca_raster(encoder, 4.0, projection=projection).to_numpy()
        np.testing.assert_array_equal(pixels(pane.image(name)), expected)
    pane.land_only = True
    alpha = pane.image("xyz").dimension_values("A", flat=False)[::-1]
    np.testing.assert_array_equal(alpha == 255, land_mask(Grid(GLOBE, alpha.shape)))


def test_no_globe_is_encoded_finer_than_it_is_shown_or_where_one_is_at_hand(monkeypatch):
    encoded = []
    monkeypatch.setattr(
        world, "pca_raster", lambda *a, **k: encoded.append(a) or pca_raster(*a, **k)
    )
    monkeypatch.setattr("satclip_explore.panes.compare.pane.RESOLUTION", 8.0)
    default, xyz = load_encoder("mini-l40"), load_encoder("xyz")
    pane = ready(ComparePane(default, ["mini-l40", "xyz"], lambda name: xyz))
    assert encoded == [(xyz, 8.0)]
    assert pane.image("mini-l40").dimension_values("A", flat=False).shape == (720, 1440)
    # The one that ships is of the land alone.
    pane.land_only = False
    pane._background.wait(60)
    assert encoded == [(xyz, 8.0), (default, 8.0)]
    assert (pane.image("mini-l40").dimension_values("A") == 255).all()


def test_a_globe_that_is_not_there_yet_is_clear(tiny_encoder):
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder)
    assert (pane.image("xyz").dimension_values("A") == 0).all()


def test_another_choice_is_compared_anew_and_forgets_the_probes(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz", "wrap"], load_encoder))
    pane.param.update(result=object(), problem="old")
    pane.chosen = ["tiny-l5", "wrap", "xyz"]
    pane._background.wait(60)
    assert len(pane.comparison.pairs) == 3
    assert (pane.result, pane.problem) == (None, "")
    pane.chosen = ["wrap"]
    assert "Choose two to four" in pane.view().object
    assert pane.probe() is None
    assert "choose two to four" in pane.problem


def test_the_same_choice_is_compared_once_per_process(tiny_encoder, monkeypatch):
    xyz = load_encoder("xyz")
    ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], lambda name: xyz))
    monkeypatch.setattr(
        "satclip_explore.panes.compare.pane.compare_encoders",
        lambda *_, **__: pytest.fail("compared again"),
    )
    again = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], lambda name: xyz))
    assert again.comparison is not None


def test_a_globe_left_behind_by_a_quick_second_choice_is_encoded_after_all(tiny_encoder):
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz", "wrap"], load_encoder)
    pane.view()
    pane.chosen = ["tiny-l5", "xyz", "wrap"]
    pane._background.wait(60)
    for name in pane.chosen:
        assert (pane.image(name).dimension_values("A") == 255).any()


def test_an_encoder_that_cannot_be_loaded_gives_a_sentence(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "satclip-vit16-l40"], load_encoder))
    assert "satclip-vit16-l40" in pane.message
    assert pane.busy == ""
    assert pane.comparison is None
    pane.chosen = ["tiny-l5", "xyz"]
    pane._background.wait(60)
    assert pane.message == ""
    assert pane.comparison is not None


def test_encoders_without_common_ground_give_a_sentence(tiny_encoder):
    nowhere = from_callable(lambda lonlat: np.full((len(lonlat), 3), np.nan), name="<i>none</i>")
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "none"], lambda name: nowhere))
    assert "covers 0 of the sampled" in pane.message
    assert "<i>" not in pane.sentences()


def test_names_from_outside_are_escaped(tiny_encoder):
    odd = from_callable(lambda lonlat: unit_vectors(lonlat) ** 3, name="<script>x</script>")
    comparison = compare_encoders([tiny_encoder, odd], n_samples=100)
    shown = compare_views.statistics(comparison)[0][0].object
    assert "<script>" not in shown + compare_views.key(odd.name, "#fff")
    assert "&lt;script&gt;" in shown


def test_curves_have_one_line_for_each_encoder(tiny_encoder):
    comparison = compare_encoders([tiny_encoder, load_encoder("xyz")], n_samples=200)
    _, variograms, spectra = compare_views.statistics(comparison)
    names = [curve.label for curve in variograms[0][1].object if curve.label]
    assert names == ["tiny-l5", "xyz"]
    lines = [part for part in spectra[0][1].object if type(part).__name__ == "Curve"]
    assert [len(line) for line in lines] == [8, 3]


def test_a_swipe_lays_the_second_over_the_first_and_leaves_the_rest(tiny_encoder):
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz", "wrap"], load_encoder)
    pane.chosen = ["tiny-l5", "xyz", "wrap"]
    pane.layout = "swipe"
    note, titles, slider, stack = pane.view()
    assert "without wrap" in note.object
    assert "tiny-l5" in titles[0].object
    assert "xyz" in titles[1].object
    assert slider.value == 50.0
    left, right, line = stack
    assert "clip-path" not in left.styles
    assert right.styles["clip-path"] == "inset(0 0 0 50%)"
    assert line.styles["pointer-events"] == "none"


def test_up_to_four_globes_stand_beside_one_another(tiny_encoder):
    names = ["tiny-l5", "xyz", "wrap", "lonlat", "harmonics-l3"]
    pane = ComparePane(tiny_encoder, names, load_encoder)
    pane.chosen = names
    assert len(pane.view()) == MOST
    pane._background.wait(60)
    assert len(pane.comparison.shapes) == MOST


def test_l_of_20_can_be_chosen_and_a_trained_encoder_too(tiny_encoder):
    pane = ComparePane(load_encoder("xyz"), ["xyz", "wrap"], load_encoder)
    assert {"harmonics-l20", "random-l20"} <= set(pane.names)
    choose = pane.__panel__()[0][1][0]
    pane.offer(tiny_encoder)
    assert "tiny-l5" in choose.options
    pane.chosen = ["xyz", "tiny-l5"]
    ready(pane)
    assert pane.comparison.shapes["encoder"].tolist() == ["xyz", "tiny-l5"]


def test_the_pages_encoder_comes_first_and_nothing_is_computed_unseen(tiny_encoder):
    pane = ComparePane(load_encoder("xyz"), ["xyz", "wrap"], load_encoder)
    pane.encoder = tiny_encoder
    assert pane.chosen == ["tiny-l5", "xyz"]
    pane.encoder = load_encoder("wrap")
    assert pane.chosen == ["wrap", "tiny-l5"]
    assert (pane.busy, pane._asked) == ("", ())
    ready(pane)
    pane.encoder = tiny_encoder
    pane._background.wait(60)
    assert pane.comparison.shapes["encoder"].tolist() == ["tiny-l5", "wrap"]


def test_probes_of_a_task_give_a_table_with_every_encoder(tiny_encoder):
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder, task="air_temperature")
    assert "Train a small model" in pane.scores()
    pane.probe()
    assert pane.probing
    pane._probes.wait(120)
    assert (pane.probing, pane.problem) == ("", "")
    assert set(pane.result.metrics.index) == {"tiny-l5", "xyz", "nearest"}
    assert pane.result.task.name == "air_temperature"
    best = pane.result.metrics["mse"].idxmin()
    bold = pane.scores().partition("font-weight:650'>")[2].partition("</tr>")[0]
    assert best in bold


def test_probes_that_cannot_be_trained_give_a_sentence(tiny_encoder, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("<b>nothing</b> to train on.")

    monkeypatch.setattr("satclip_explore.panes.compare.pane.train_probe", refuse)
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder)
    pane.probe()
    pane._probes.wait(60)
    assert pane.problem == "<b>nothing</b> to train on."
    assert "<b>" not in pane.scores()


def test_stopped_probes_say_so_and_leave_nothing(tiny_encoder, monkeypatch):
    started = threading.Event()

    def slow(*_, cancel, **__):
        started.set()
        while not cancel.is_set():
            pass
        return "late"

    monkeypatch.setattr("satclip_explore.panes.compare.pane.train_probe", slow)
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder)
    pane.probe()
    assert started.wait(30)
    pane.stop()
    pane._probes.wait(30)
    assert (pane.probing, pane.problem, pane.result) == ("", "Stopped.", None)
    pane.problem = ""
    pane.stop()
    assert pane.problem == ""


def test_the_dial_says_what_l_can_and_cannot_resolve(tiny_encoder):
    pane = DegreesPane(tiny_encoder)
    pane.legendre_polys = 10
    can, cannot = pane.words().partition("Too narrow")[::2]
    # 40,030 km / 9 = 4,448 km.
    assert "4,448 km long" in can
    assert "2,224 km" in can
    assert "100 harmonics" in can
    assert "Australia" in can
    assert "Madagascar" in cannot
    pane.legendre_polys = 40
    can, cannot = pane.words().partition("Too narrow")[::2]
    assert "Madagascar" in can
    assert "Corsica" in cannot


def test_every_l_of_the_dial_draws_the_earth(tiny_encoder, monkeypatch):
    monkeypatch.setattr(
        "satclip_explore.panes.compare.degrees.truncate_encoder", lambda encoder, _: encoder
    )
    pane = DegreesPane(tiny_encoder)
    spread = []
    for degrees in DEGREES:
        pane.legendre_polys = degrees
        pane.picture()
        pane._background.wait(60)
        spread.append(np.abs(np.diff(pixels(pane.picture()).astype(int), axis=1)).mean())
    # More degrees, more detail.
    assert spread == sorted(spread)


def test_an_encoder_is_cut_at_l_in_its_own_colors(tiny_encoder):
    pane = DegreesPane(tiny_encoder, legendre_polys=2)
    assert (pixels(pane.cut()) == 0).all()
    pane._background.wait(60)
    short = truncate_encoder(tiny_encoder, 2)
    expected = pca_raster(short, 4.0, projection=world.projection_of(tiny_encoder)).to_numpy()
    np.testing.assert_array_equal(pixels(pane.cut()), expected)
    assert "cut at L = 2" in pane.name_of_cut()
    pane.legendre_polys = 5
    assert "whole" in pane.name_of_cut()


def test_beyond_its_own_l_an_untrained_encoder_stands_in_and_is_named(tiny_encoder):
    pane = DegreesPane(tiny_encoder, legendre_polys=10)
    assert "random-l10" in pane.name_of_cut()
    pane.cut()
    pane._background.wait(60)
    random = load_encoder("random-l10")
    expected = pca_raster(random, 4.0, projection=world.projection_of(random)).to_numpy()
    np.testing.assert_array_equal(pixels(pane.cut()), expected)
    assert pane.message == ""


def test_a_cut_that_was_left_behind_is_computed_when_it_is_asked_for_again(tiny_encoder):
    pane = DegreesPane(tiny_encoder, legendre_polys=2)
    pane.cut()
    pane._background.wait(60)
    pane.legendre_polys = 5
    pane.cut()
    pane._background.stop()
    pane._background.wait(60)
    RESULTS.clear()
    pane.legendre_polys = 2
    pane.cut()
    pane.legendre_polys = 5
    pane.cut()
    pane._background.wait(60)
    assert RESULTS.peek(pane._key()) is not None


def test_both_panes_show_themselves_and_follow_one_selection(tiny_encoder):
    selection = Selection()
    compare = ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder, selection=selection)
    degrees = DegreesPane(tiny_encoder, selection=selection)
    assert len(compare.__panel__()) == 3
    assert degrees.__panel__() is not None
    compare._background.wait(60)
    assert ComparePane(tiny_encoder).selection is not selection


def test_a_near_view_is_encoded_afresh_for_every_globe(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder, land_only=False))
    view = {"x_range": (0.0, 40.0), "y_range": (30.0, 50.0)}
    assert pane.image("tiny-l5", **view).bounds.lbrt() == GLOBE
    pane.near.background.wait(60)
    grid = Grid((-10.0, 25.0, 50.0, 55.0), (320, 640))
    for name, encoder in pane.encoders().items():
        projection = world.projection_of(encoder)
        expected = pca_raster(encoder, grid=grid, projection=projection).to_numpy()
        shown = pane.image(name, **view) if name == "tiny-l5" else pane.image(name)
        assert shown.bounds.lbrt() == grid.bounds
        np.testing.assert_array_equal(pixels(shown), expected)
    assert pane.image("tiny-l5", (-180.0, 180.0), (-90.0, 90.0)).bounds.lbrt() == GLOBE
    assert pane.image("xyz").bounds.lbrt() == GLOBE


def test_a_near_view_stays_on_the_globe_and_a_line_is_no_view(tiny_encoder):
    pane = ready(ComparePane(tiny_encoder, ["tiny-l5", "xyz"], load_encoder))
    pane.image("tiny-l5", (150.0, 200.0), (70.0, 95.0))
    pane.near.background.wait(60)
    assert pane.image("xyz").bounds.lbrt() == (137.5, 63.75, 180.0, 90.0)
    pane.image("tiny-l5", (10.0, 10.0), (20.0, 20.0))
    assert pane.message == ""


def test_two_files_of_one_name_are_two_rows(tiny_encoder):
    def load(path):
        turn = ord(path[0])
        return from_callable(lambda lonlat: np.sin(turn * unit_vectors(lonlat)), name="last.ckpt")

    pane = ready(ComparePane(tiny_encoder, ["a/last.ckpt", "b/last.ckpt"], load))
    pane.chosen = ["a/last.ckpt", "b/last.ckpt"]
    pane._background.wait(60)
    assert list(pane.encoders()) == ["a/last.ckpt", "b/last.ckpt"]
    assert [encoder.name for encoder in pane.encoders().values()] == list(pane.encoders())
    assert set(pane.comparison.pairs.loc[0, ["first", "second"]]) == set(pane.chosen)
    second = load("b")
    assert pane.offer(load("a")) == "last.ckpt"
    assert pane.offer(second) == pane.offer(second) == "last.ckpt (2)"


def test_a_fifth_encoder_is_refused_in_words(tiny_encoder):
    pane = ComparePane(tiny_encoder, ["tiny-l5", "xyz", "lonlat", "wrap", "harmonics-l10"])
    pane.chosen = ["tiny-l5", "xyz", "lonlat", "wrap", "harmonics-l10"]
    assert pane.chosen == ["tiny-l5", "xyz", "lonlat", "wrap"]
    assert "before adding harmonics-l10" in pane.message
    pane.encoder = load_encoder("harmonics-l10")
    assert pane.chosen == ["harmonics-l10", "tiny-l5", "xyz", "lonlat"]
    assert "takes the place of wrap" in pane.message
