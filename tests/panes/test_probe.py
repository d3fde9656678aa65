from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from satclip_explore.geo import equal_area_sample
from satclip_explore.panes.probe import pane as probe_module
from satclip_explore.panes.probe.pane import ProbePane
from satclip_explore.panes.probe.places import MAX_VERTICES, box, polygon
from satclip_explore.panes.scores import score_table
from satclip_explore.panes.tasks import OWN
from satclip_explore.progress import Cancelled
from training.probe import train_probe


@pytest.fixture
def table() -> pd.DataFrame:
    """400 places, half of them in each hemisphere."""
    lonlat = equal_area_sample(400, seed=0)
    half = np.where(lonlat[:, 1] > 0, "north", "south")
    return pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "half": half})


@pytest.fixture
def pane(tiny_encoder, table, monkeypatch) -> ProbePane:
    monkeypatch.setattr(probe_module, "RESOLUTION", 10.0)
    pane = ProbePane(tiny_encoder, hold_out="random", seeds=1)
    pane.upload(table.to_csv(index=False).encode())
    return pane


def trained(pane: ProbePane) -> ProbePane:
    pane.start()
    pane._background.wait(120)
    return pane


def test_an_uploaded_table_is_described_with_its_kind_and_what_was_left_out(pane, table):
    assert pane.task == OWN
    assert pane.about == "half: 400 places, 2 classes."
    worse = pd.concat([table, table.iloc[:3]])
    worse.iloc[5, 2] = None
    pane.upload(worse.to_csv(index=False).encode())
    assert "Left out: 1 (no label)." in pane.about
    numbers = table.assign(half=np.linspace(0.0, 9.5, len(table)))
    pane.upload(numbers.to_csv(index=False).encode())
    assert "numbers from 0 to 9.5" in pane.about
    pane.upload(table.assign(code=np.arange(400) % 3).to_csv(index=False).encode())
    assert "say which column" in pane.message
    assert pane.about == ""
    pane.column = "code"
    assert "3 different whole numbers" in pane.message
    pane.kind = "classification"
    assert "3 classes" in pane.about
    pane.kind = "regression"
    assert "numbers from 0 to 2" in pane.about


def test_training_shows_curves_a_table_and_maps(pane, monkeypatch):
    seen = []
    pane.param.watch(lambda event: seen.append(pane.curves()), "_losses")
    trained(pane)
    assert pane.message == ""
    assert pane.busy == ""
    assert next(iter(pane.table().index)) == pane.encoder.name
    assert "nearest" in pane.table().index
    # An untrained encoder; chance is 0.5, and 200 test places give it a spread of 0.035.
    assert float(pane.table().loc[pane.encoder.name, "accuracy"][:5]) > 0.6
    assert "<polyline" in seen[0]
    assert "<polyline" in pane.curves()
    assert set(pane.result.curves["encoder"]) == {name for name, _, _ in pane._losses}
    assert len(pane.view().get_root().children) == 2


def words_of(view) -> str:
    return " ".join(
        one.object for one in view.select(lambda o: isinstance(getattr(o, "object", 0), str))
    )


def test_occurrences_of_a_species_give_suitability_with_a_threshold(pane):
    """Two species, one on either side of a line through Africa."""
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(15.0, 28.0, 400), rng.uniform(-30.0, -5.0, 400)], axis=1)
    names = np.where(lonlat[:, 1] > -18.0, "Acacia nilotica", "Protea repens")
    pane.upload(
        pd.DataFrame({"species": names, "lon": lonlat[:, 0], "lat": lonlat[:, 1]})
        .to_csv(index=False).encode()
    )  # fmt: skip
    pane.kind = "presence"
    assert "2 species" in pane.message
    pane.param.update(species="Protea repens", background="target-group")
    assert "presences, the others background. Left out: 1 (others in a cell" in pane.about
    assert pane.chosen_task().target.sum() == (names == "Protea repens").sum() - 1
    assert trained(pane).message == ""
    assert {"auc", "boyce"} <= set(pane.table().columns)
    assert 0.0 <= float(pane.field.min()) < float(pane.field.max()) <= 1.0
    shown = words_of(pane.view())
    assert f"suitable from {pane.result.threshold:.3g} on" in shown
    assert ">AUC</th>" in shown
    assert ">Boyce</th>" in shown
    pane.species = "Acacia nilotica"
    assert pane.result is None


def test_counts_are_predicted_when_they_are_said_to_be_counts(pane, table):
    counts = np.random.default_rng(0).poisson(np.exp(1.0 + table["lat"] / 60.0))
    pane.upload(table.assign(half=counts).to_csv(index=False).encode())
    assert "kind='counts'" in pane.message
    pane.kind = "counts"
    assert f"counts from 0 to {counts.max()}" in pane.about
    assert trained(pane).message == ""
    assert {"deviance", "d2"} <= set(pane.table().columns)
    assert ">D²</th>" in words_of(pane.view())
    pane.model = "knn"
    assert "predicts no counts" in trained(pane).message


@pytest.mark.parametrize("model", ["mlp", "knn", "kriging"])
def test_every_model_is_offered_and_runs(pane, model):
    pane.model = model
    assert trained(pane).result.facts["model"] == model


def test_a_drawn_box_is_held_out_and_its_places_are_counted(pane, table):
    pane.draw(box((-200.0, -95.0, 0.0, 95.0)))
    assert pane.drawn == (-180.0, -90.0, 0.0, 90.0)
    assert pane.hold_out == "drawn"
    inside = int((table["lon"] <= 0).sum())
    assert len(pane._split.test) + len(pane._split.shots) == inside
    assert f"tests {len(pane._split.test):,}" in pane.legend()
    corners = pane.edge().array()
    assert corners[:, 0].min() == -180.0
    assert corners[:, 0].max() == 0.0
    assert trained(pane).result.split.facts["region"].startswith("box")
    pane.hold_out = "blocks"
    assert np.isnan(pane.edge().array()).all()


def test_a_drawn_polygon_is_held_out_and_long_lines_are_thinned(pane, table):
    angle = np.linspace(0.0, 2.0 * np.pi, 1000, endpoint=False)
    ring = polygon(np.stack([60.0 * np.cos(angle), 40.0 * np.sin(angle)], axis=1))
    assert len(ring) <= MAX_VERTICES
    pane.draw(ring)
    inside = (table["lon"] / 60.0) ** 2 + (table["lat"] / 40.0) ** 2 < 1.0
    held_out = len(pane._split.test) + len(pane._split.shots)
    # Two hundred straight edges lie inside the ellipse by 0.05 % of its radius.
    assert inside.sum() - 1 <= held_out <= inside.sum()


def test_what_has_no_area_gives_a_sentence_and_changes_nothing(pane):
    assert box((10.0, 5.0, 10.0, 8.0)) is None
    assert box((200.0, 0.0, 300.0, 10.0)) is None
    assert polygon([(0.0, 0.0), (1.0, 1.0)]) is None
    assert polygon([(np.nan, 0.0), (1.0, 1.0), (2.0, 1.0)]) is None
    pane.draw(None)
    assert "no area" in pane.message
    assert pane.hold_out == "random"


def test_the_map_tells_training_test_and_shown_places_apart(pane):
    pane.hold_out = "Africa"
    colors = pane.points().dimension_values("color")
    assert len(set(colors)) == 3
    assert len(colors) == 400


def test_the_view_of_the_world_is_followed_only_when_it_is_the_region(pane):
    pane.selection.look((0.0, 0.0, 90.0, 60.0))
    assert pane._split.description.startswith("50%")
    pane.hold_out = "view"
    before = len(pane._split.test)
    pane.selection.look((0.0, 0.0, 45.0, 60.0))
    assert 0 < len(pane._split.test) < before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hold_out": "drawn"}, "draw the region first"),
        ({"hold_out": "typed", "typed": ""}, "type a country"),
        ({"hold_out": "typed", "typed": "Atlantis"}, "Atlantis"),
        ({"hold_out": "typed", "typed": "10, 5, 1000000, 8"}, "degrees"),
        ({"hold_out": "typed", "typed": "-150, -60, -149, -59"}, "no place"),
        ({"hold_out": "Africa", "shots": 0.0}, "above 0"),
        ({"hold_out": "random", "seeds": 20}, "fewer than 20"),
    ],
)
def test_a_choice_that_cannot_be_gives_one_sentence(pane, table, change, words):
    if "seeds" in change:
        pane.upload(table.iloc[:30].to_csv(index=False).encode())
    pane.param.update(**change)
    trained(pane)
    assert words in pane.message
    assert pane.message.count(". ") <= 1
    assert pane.result is None
    assert pane.busy == ""


LONG = "lon,lat,v\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00caf\xe9", "not text in"),
        (bytes(200_000_000), "100 MB"),
        (LONG + "".join(f"{i},1,a\n" for i in range(40)), "one class"),
        (LONG + "".join(f"{i},1,3.5\n" for i in range(40)), "one value"),
        (LONG + "1,1,a\n" * 20 + "1,1,b\n" * 20, "no test places"),
        (LONG + "".join(f"{500_000 + i},{4_649_776 + i},{i % 2}\n" for i in range(40)), "meters"),
        (LONG.replace("v", "<img src=x onerror=alert(1)>"), "no rows"),
        ("<b>a</b>,<i>b</i>\n1,2\n", "no coordinate columns"),
    ],
    ids=["empty", "latin", "200 MB", "class", "constant", "duplicates", "meters", "rows", "markup"],
)
def test_a_hostile_table_gives_one_sentence_and_the_pane_lives(pane, table, content, words):
    pane.upload(content if isinstance(content, bytes) else content.encode())
    assert words in pane.message
    assert "<b>" not in pane.sentences().replace("&lt;b&gt;", "")
    trained(pane)
    assert words in pane.message
    assert pane.busy == ""
    assert pane.result is None
    pane.upload(table.to_csv(index=False).encode())
    assert pane.message == ""
    assert trained(pane).result is not None


def test_names_from_files_are_escaped_wherever_they_are_shown(pane, table):
    evil = "<img src=x onerror=alert(1)>"
    named = table.rename(columns={"half": evil})
    named[evil] = named[evil].str.replace("north", evil)
    pane.upload(named.to_csv(index=False).encode())
    assert evil not in pane.legend()
    trained(pane)
    markup = [
        one.object for one in pane.view().select(lambda o: isinstance(getattr(o, "object", 0), str))
    ]
    assert len(markup) >= 4
    assert not any(evil in one for one in markup)
    assert any("&lt;img" in one for one in markup)


def test_stopping_ends_the_spinner(pane, monkeypatch):
    def endless(*_, cancel, **__):
        while not cancel.is_set():
            pass
        raise Cancelled("stopped")

    monkeypatch.setattr(probe_module, "train_probe", endless)
    pane.start()
    assert pane.busy
    pane.stop()
    pane._background.wait(10)
    assert pane.busy == ""
    assert pane.message == "Stopped before there was anything to show."
    assert pane.result is None


def test_stopping_shows_what_was_learned_until_then(pane, monkeypatch):
    def stopped(*args, cancel, **settings):
        cancel.set()
        return train_probe(*args, **settings)

    monkeypatch.setattr(probe_module, "train_probe", stopped)
    pane.start()
    pane._background.wait(60)
    assert pane.result is not None
    assert pane.message.startswith("Stopped early")


def test_scores_have_plain_words_units_and_no_deviation_where_there_is_no_chance():
    rows = pd.DataFrame({"mae": ["2.100 ± 0.000", "3.000 ± 0.200"]}, index=["a", "<b>"])
    metrics = pd.DataFrame({"mae_sd": [0.0, 0.2]}, index=rows.index)
    task = SimpleNamespace(is_classification=False, unit="°C")
    result = SimpleNamespace(table=lambda: rows, metrics=metrics, task=task)
    markup = score_table(result, lambda _: "", lambda _: "")
    assert "mean error, °C" in markup
    assert "<td>2.100</td>" in markup
    assert "3.000 ± 0.200" in markup
    assert "<b>" not in markup


def test_scores_go_when_the_settings_they_belong_to_do(tiny_encoder):
    pane = ProbePane(tiny_encoder)
    for change in ({"model": "knn"}, {"hold_out": "Asia"}, {"seeds": 5}, {"task": "country"}):
        pane.param.update(result="scores of before", _losses=[("a", 1, 0.5)])
        pane.param.update(**change)
        assert pane.result is None, change
        assert pane._losses == []
