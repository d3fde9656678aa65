"""The Evaluate page without a browser: folds, a ladder that fills, a verdict, and its files."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pandas as pd
import pytest
import rasterio

import satclip_explore as sx
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.explorer import Explorer
from satclip_explore.geo import equal_area_sample
from satclip_explore.panes.evaluate import pane as evaluate_module
from satclip_explore.panes.evaluate.downloads import offer
from satclip_explore.panes.evaluate.ladder_chart import ladder_chart
from satclip_explore.panes.evaluate.pane import ALONE, MODELS, SEEDS, EvaluatePane
from satclip_explore.panes.evaluate.views import striped
from satclip_explore.panes.tasks import OWN
from satclip_explore.panes.uploads import Dropped
from training.evaluate import evaluate
from training.evaluation import prediction
from training.evaluation.cells import Step


@pytest.fixture
def table() -> pd.DataFrame:
    """60 places, warmer toward the equator."""
    lonlat = equal_area_sample(60, seed=0)
    warm = 30.0 * np.cos(np.radians(lonlat[:, 1]))
    return pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "warm": warm})


@pytest.fixture
def pane(tiny_encoder, table, monkeypatch) -> EvaluatePane:
    monkeypatch.setattr(prediction, "MAP_ROWS", 6)
    monkeypatch.setattr(evaluate_module, "RUNGS", ("random", *evaluate_module.RUNGS[-2:]))
    monkeypatch.setattr(evaluate_module, "NAMES", ["random", "20°", "40°"])
    pane = EvaluatePane(tiny_encoder, ["xyz"], models=ALONE, rung="20°")
    pane.take(table.to_csv(index=False).encode())
    pane._preview.wait(60)
    return pane


def evaluated(pane: EvaluatePane) -> EvaluatePane:
    pane.start()
    pane._background.wait(120)
    return pane


def test_the_map_shows_each_place_in_the_color_of_its_fold(pane):
    assert pane.task == OWN
    assert pane.about.startswith("warm: 60 places; ")
    assert len(set(pane.points().dimension_values("color"))) == 5
    assert pane.legend().count("class='dot'") == 5
    pane.places = 500
    pane._preview.wait(60)
    assert "drawn" not in pane.about


def test_the_ladder_fills_and_ends_in_a_verdict_a_map_and_a_report(pane):
    seen = []
    pane.param.watch(lambda event: seen.append((len(event.new), pane.chart())), "steps")
    pane.beside = ["xyz"]
    evaluated(pane)
    assert pane.message == ""
    assert pane.busy == ""
    counts = [count for count, _ in seen if count]
    assert counts == list(range(1, 3 * 7 + 1))
    assert seen[-1][1].count("<polyline") == 7
    assert "Holm" in pane.verdict()
    given = {choice.label: choice for choice in offer(pane, MODELS[pane.models], SEEDS)}
    assert b"<h1>" in given["Report"].make(print)
    scores = pd.read_csv(io.BytesIO(given["CSV of scores"].make(print)), comment="#")
    assert len(scores) == len(pane.result.ladder.scores)
    with rasterio.MemoryFile(given["GeoTIFF"].make(print)) as memory, memory.open() as file:
        assert file.descriptions[0] == "band prediction"
        bands = file.read(1)
    raster = pane.result.survey.raster["prediction"].to_numpy()
    np.testing.assert_allclose(bands, raster, rtol=1e-6)
    assert pane.view().get_root() is not None
    pane.mark()
    assert pane.selection.marks[0][2] == "1. label to get next"
    assert len(pane.selection.marks) == len(pane.result.survey.following)


def test_the_copied_cell_evaluates_the_same(pane, table, tmp_path, monkeypatch):
    pane.take(Dropped(table.to_csv(index=False).encode(), "warm.csv"))
    pane.encoder = load_encoder("xyz")
    evaluated(pane)
    code = offer(pane, MODELS[pane.models], SEEDS)[-1].code
    table.to_csv(tmp_path / "warm.csv", index=False)
    monkeypatch.chdir(tmp_path)
    few = partial(evaluate, rungs=evaluate_module.RUNGS)
    monkeypatch.setattr(sx, "evaluate", few, raising=False)
    names = {}
    exec(code, names)
    expected = pane.result.ladder.scores.drop(columns="seconds", errors="ignore")
    found = names["ladder"].scores.drop(columns="seconds", errors="ignore")
    pd.testing.assert_frame_equal(found, expected)


def test_what_was_scored_goes_when_the_settings_it_belongs_to_do(pane):
    for change in ({"places": 500}, {"beside": ["xyz"]}, {"task": "biome"}):
        pane.param.update(result="of before", steps=[Step("evaluation")])
        pane.param.update(**change)
        assert pane.result is None, change
        assert pane.steps == []


def test_stopping_shows_what_was_scored_and_no_map(pane, monkeypatch):
    def stopped(*given, on_progress, **settings):
        def after_two(step):
            on_progress(step)
            if step.done == 2:
                settings["cancel"].set()

        return evaluate(*given, on_progress=after_two, **settings)

    monkeypatch.setattr(evaluate_module, "evaluate", stopped)
    evaluated(pane)
    assert len(pane.steps) == 2
    assert pane.result.survey is None
    assert "stopped early" in pane.verdict()
    assert pane.busy == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"lon,lat,a,b\n1,2,3,4\n", "say which column"),
        (b"name,value\nx,1\n", "no coordinate columns"),
    ],
)
def test_what_cannot_be_evaluated_gives_a_sentence(pane, content, words):
    pane.take(content)
    pane._preview.wait(60)
    assert words in pane.message
    evaluated(pane)
    assert words in pane.message
    assert pane.result is None


def test_without_a_file_there_is_a_sentence(tiny_encoder):
    pane = EvaluatePane(tiny_encoder)
    pane.task = OWN
    assert "drop a table" in pane.message
    pane.start()
    assert "drop a table" in pane.message


def test_words_from_a_file_are_escaped(pane, table):
    evil = "<img src=x onerror=alert(1)>"
    pane.take(table.rename(columns={"warm": evil}).to_csv(index=False).encode())
    pane._preview.wait(60)
    assert evil not in pane.legend()
    step = Step("evaluation", 1, 2, rung=evil, contender=evil, score=0.5, low=0.4, high=0.6, km=3.0)
    chart = ladder_chart([step], [evil])
    assert "<img" not in chart
    assert "&lt;img" in chart


def test_scores_that_are_unknown_or_very_low_stay_on_the_chart():
    def step(score):
        return Step("evaluation", 1, 2, rung="random", contender="idw", score=score, km=1.0)

    assert "<circle" not in ladder_chart([step(float("nan"))], ["random"])
    assert "cy='244.0'" in ladder_chart([step(-80.0)], ["random"])


def test_what_is_not_to_be_trusted_is_dim_and_striped():
    colors = np.full((1, 2, 4), 255, dtype=np.uint8)
    fine = striped(colors, np.array([[True, False]]))
    assert fine.shape == (3, 6, 4)
    assert (fine[:, 3:] == 255).all()
    assert (fine[:, :3, 3] == 85).all()
    assert (fine[:, :3, 0] == 0).sum() == 3


def test_a_column_goes_on_from_your_data_to_the_page(tiny_encoder, table):
    explorer = Explorer(tiny_encoder)
    explorer.data.take(table.to_csv(index=False).encode())
    explorer.data.column = "warm"
    explorer.data.evaluate()
    explorer.evaluate._preview.wait(60)
    assert explorer.tab == "evaluate"
    assert explorer.evaluate.about.startswith("warm: 60 places")
