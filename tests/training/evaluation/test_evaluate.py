"""`evaluate` from a table to a verdict: leaks are found, noise is at chance, intervals hold."""

import threading

import numpy as np
import pandas as pd
import pytest
import torch

import satclip_explore as sx
from satclip_explore.encoders.custom import from_callable
from satclip_explore.progress import Cancelled
from satclip_explore.store import RESULTS
from training.evaluate import main
from training.evaluation import cells

RUNGS = ("random", 2.0, 20.0)


@pytest.fixture(autouse=True)
def _forget():
    RESULTS.clear()


def frame(n=150, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"lon": rng.uniform(-180, 180, n), "lat": rng.uniform(-60, 60, n)})
    table["warm"] = np.cos(np.radians(table["lat"])) * 30 + rng.normal(size=n)
    table["noise"] = rng.normal(size=n)
    table["belt"] = np.where(table["lat"].abs() < 25, "tropics", "beyond")
    return table


def knows(column, table, name="knows"):
    """An encoder that has seen the labels: a leak, planted."""
    places = dict(zip(zip(table["lon"], table["lat"], strict=True), table[column], strict=True))

    def embed(lonlat):
        return np.array([[places.get((lon, lat), 0.0)] for lon, lat in np.asarray(lonlat)])

    return from_callable(embed, name=name)


def test_a_ladder_says_what_it_found_and_shows_itself():
    steps = []
    ladder = sx.evaluate(
        frame(90), "warm", rungs=("random", 20.0), folds=3, seeds=1, encoders="xyz",
        on_progress=steps.append, places=[[0.0, 70.0], [10.0, -70.0]],
    )  # fmt: skip
    assert ladder.complete
    assert list(ladder.contenders) == [
        "constant", "idw", "nearest", "lonlat", "harmonics-l10", "xyz", "xyz + place",
    ]  # fmt: skip
    assert len(ladder.scores) == 2 * 7 * 3
    assert {"rung", "contender", "fold", "seed", "r2", "mae"} <= set(ladder.scores)
    assert ladder.summary.loc["random", ("harmonics-l10", "mean")] > 0.3
    assert ladder.distances.loc["20°", "median"] > ladder.distances.loc["random", "median"]
    assert ladder.verdict[1].startswith("The places to predict lie ")
    assert "Holm" in ladder.verdict[-1]
    assert ladder.best() in ladder.contenders
    assert [step.done for step in steps] == list(range(15))
    assert steps[-1].seconds_left == 0.0
    # Slow contenders come last, so that the others are seen on every rung soon.
    assert [step.contender for step in steps].index("xyz + place") == 13
    assert all(step.low <= step.score <= step.high for step in steps[1:])
    assert [step.km for step in steps[-2:]] == list(ladder.distances["median"][:2])
    html = ladder._repr_html_()
    assert "idw" in html
    assert "± " in html
    assert ladder.facts["task"] == "warm"


def test_names_from_a_table_are_escaped():
    table = frame(60).rename(columns={"warm": "<script>alert(1)</script>"})
    ladder = sx.evaluate(
        table, "<script>alert(1)</script>", rungs=["random"], seeds=1, models=["ridge"],
        encoders="xyz",
    )  # fmt: skip
    assert "<script>" not in ladder._repr_html_()


def test_a_planted_leak_is_seen_on_every_rung_and_noise_is_at_chance():
    table = frame()
    ladder = sx.evaluate(
        table, "noise", seeds=1, encoders=[knows("noise", table), "xyz"],
        models=["ridge"],
    )  # fmt: skip
    means = ladder.scores.groupby(["rung", "contender"])["r2"].mean().unstack()
    assert len(means) == 9
    assert (means["knows"] > 0.99).all()
    for honest in ("xyz", "lonlat", "idw", "harmonics-l10"):
        assert (means[honest] < 0.05).all(), honest
    told = ladder.comparisons.set_index("contender").loc["knows"]
    assert (told["p_holm"] < 0.05).all()


def test_noise_has_a_verdict_that_nothing_helps():
    ladder = sx.evaluate(frame(100), "noise", rungs=("random", 20.0), seeds=2, encoders="xyz")
    assert (ladder.summary.xs("mean", axis=1, level=1)["xyz + place"] < 0.05).all()
    assert ladder.verdict[0].startswith("No: nothing predicts this better than a constant guess")
    assert all("nothing helps" in line for line in ladder.verdict[1:-1])


def test_classes_are_scored_and_predicted_as_sets():
    ladder = sx.evaluate(
        frame(),
        "belt",
        rungs=["random"],
        seeds=1,
        encoders="mini-l10",
        models=["ridge", "logistic"],
    )
    assert ladder.metric == "accuracy"
    assert ladder.summary.loc["random", ("idw", "mean")] > 0.8
    found = ladder.predict_interval([[0.0, 0.0], [0.0, 55.0]], contender="idw")
    assert found["prediction"].tolist() == ["tropics", "beyond"]
    assert all(name in said for name, said in zip(found["prediction"], found["set"], strict=True))


def test_intervals_hold_on_every_rung_and_widen_with_distance():
    ladder = sx.evaluate(frame(600), "warm", rungs=RUNGS, seeds=2, encoders="xyz", models=["ridge"])
    for name in ("idw", "xyz"):
        held = ladder.coverage(0.9, name)["coverage"]
        assert ((held > 0.88) & (held < 0.92)).all(), held
    widths = ladder.coverage(0.9, "idw")["half_width"]
    assert widths["20°"] > widths["random"]
    beside = ladder.task.lonlat[0] + 0.1
    found = ladder.predict_interval([beside, [0.0, 85.0]], contender="idw")
    half = (found["high"] - found["low"]) / 2
    assert half[1] > half[0]
    with pytest.raises(ValueError, match="level must lie"):
        ladder.coverage(90)


def test_sets_of_interpolation_are_small_where_few_labels_vote():
    table = frame(400)
    noisy = table["lat"] + 12 * table["noise"]
    table["zone"] = pd.cut(noisy, [-200, -52, -40, -20, 10, 60, 200], labels=list("abcdef"))
    ladder = sx.evaluate(
        table, "zone", rungs=("random", 20.0), seeds=3, encoders="xyz", models=["ridge"]
    )
    for name in ("idw", "nearest"):
        held = ladder.coverage(0.9, name)["coverage"]
        assert ((held > 0.88) & (held < 0.92)).all(), held
    found = ladder.predict_interval([[0.0, 0.0], [50.0, 55.0]], contender="nearest")
    assert (found["set_size"] < 6).all()


def test_a_group_is_a_rung_of_its_own():
    table = frame(80).assign(farm=lambda rows: [f"farm {k % 8}" for k in range(len(rows))])
    ladder = sx.evaluate(
        table, "warm", group="farm", rungs=["random"], seeds=1, encoders="xyz", models=["ridge"]
    )
    assert [rung.name for rung in ladder.rungs] == ["random", "farm"]
    assert (
        ladder.rung("farm").split(0, 0).description
        == "whole groups of 'farm' held out, fold 1 of 5"
    )


def test_places_are_drawn_once_and_that_is_said():
    table = frame(80).assign(farm=lambda rows: [f"farm {k % 8}" for k in range(len(rows))])
    settings = {"rungs": ["random"], "seeds": 1, "encoders": "xyz", "models": ["ridge"]}
    ladder = sx.evaluate(table, "warm", group="farm", max_places=40, **settings)
    assert len(ladder.task) == 40
    assert ladder.notes[0] == "40 of 80 places, drawn at random."
    assert [rung.name for rung in ladder.rungs] == ["random", "farm"]
    again = sx.evaluate(table, "warm", max_places=40, **settings)
    np.testing.assert_array_equal(again.task.lonlat, ladder.task.lonlat)
    assert len(sx.evaluate(table, "warm", max_places=80, **settings).task) == 80


def test_covariates_stand_beside_every_embedding():
    table = frame()
    table["known"] = (table["noise"] + 0.01 * table["warm"]).where(table.index != 3)
    ladder = sx.evaluate(
        table, "noise", covariates="known", rungs=["random"],
        seeds=1, encoders="xyz", models=["ridge"],
    )  # fmt: skip
    means = ladder.scores.groupby("contender")["r2"].mean()
    assert means["xyz"] > 0.99 > means["idw"]
    assert len(ladder.task) == len(table) - 1
    assert "1 places left out, where a covariate is missing." in ladder.notes
    assert "Beside every embedding, and beside coordinates, stand known;" in ladder.verdict[-2]
    with pytest.raises(ValueError, match=r"'copy' is the target again \(correlation -1.000000\)"):
        sx.evaluate(table.assign(copy=-2.0 * table["noise"]), "noise", covariates=["copy"])
    with pytest.raises(ValueError, match="covariates, which are not known"):
        ladder.predict_interval([[0.0, 0.0]], contender="xyz")


def test_labels_that_may_be_mistakes_are_said():
    table = frame(60)
    table.loc[3, "warm"] = 1e12
    table = pd.concat([table, table.head(2).assign(warm=50.0)])
    settings = {"rungs": ["random"], "seeds": 1, "encoders": "xyz", "models": ["ridge"]}
    said = sx.evaluate(table, "warm", **settings).notes
    assert any("1 of 62 labels are far from all others, as 1e+12 is" in note for note in said)
    assert "2 places have several labels: no prediction is right for all." in said
    assert not any("far from all" in note or "several labels" in note
                   for note in sx.evaluate(frame(60), "warm", **settings).notes)  # fmt: skip


def test_a_run_that_is_stopped_keeps_what_is_finished_and_goes_on(tmp_path, monkeypatch):
    stop, settings = threading.Event(), {"rungs": RUNGS, "seeds": 1, "encoders": "xyz",
                                         "models": ["ridge"], "folder": tmp_path}  # fmt: skip

    def after_four(step):
        if step.done == 4:
            stop.set()

    part = sx.evaluate(frame(), "warm", cancel=stop, on_progress=after_four, **settings)
    assert not part.complete
    assert len(part.cells) == 4
    assert "stopped early" in part.verdict[-1]
    assert part.predict_interval([[0.0, 0.0]])["rung"].tolist() == ["random"]
    for ask in (part.coverage, lambda **asked: part.predict_interval([[0.0, 0.0]], **asked)):
        with pytest.raises(ValueError, match=r"no contender 'xyz' was scored; there are constant"):
            ask(contender="xyz")
    RESULTS.clear()
    done = []
    monkeypatch.setattr(
        cells, "_predict", lambda *given, of=cells._predict: done.append(given) or of(*given)
    )
    whole = sx.evaluate(frame(), "warm", **settings)
    assert whole.complete
    assert len(done) == len(whole.cells) - 4
    for key, kept in part.cells.items():
        np.testing.assert_array_equal(kept.best, whole.cells[key].best)


def test_intervals_of_counts_do_not_go_below_zero():
    table = frame(80)
    table["trees"] = np.random.default_rng(1).poisson(0.5, len(table))
    ladder = sx.evaluate(table, "trees", kind="counts", rungs=["random"], seeds=1, encoders="xyz",
                         models=["ridge"])  # fmt: skip
    found = ladder.predict_interval(table[["lon", "lat"]], contender="xyz")
    assert (found["low"] == 0.0).any()
    assert (found[["prediction", "low", "high"]] >= 0.0).all(axis=None)
    held = (found["low"] <= table["trees"]) & (table["trees"] <= found["high"])
    assert held.mean() > 0.85


def test_values_without_a_label_below_zero_keep_their_intervals_and_that_is_said():
    table = frame(80)
    table["mass"] = np.random.default_rng(1).exponential(size=len(table))
    run = {"rungs": ["random"], "seeds": 1, "encoders": "xyz", "models": ["ridge"]}
    ladder = sx.evaluate(table, "mass", **run)
    assert any("no label is below 0" in note for note in ladder.notes)
    assert (ladder.predict_interval(table[["lon", "lat"]], contender="xyz")["low"] < 0).any()
    ladder = sx.evaluate(table.assign(mass=table["mass"] - 1.0), "mass", **run)
    assert not any("no label is below 0" in note for note in ladder.notes)


def test_weights_of_rows_are_not_used_and_that_is_said():
    table = frame(60).assign(size=np.arange(1.0, 61.0))
    task = sx.task_from_table(table, "warm", weights="size")
    ladder = sx.evaluate(task, rungs=["random"], seeds=1, encoders="xyz", models=["ridge"])
    assert "weights of the rows are not used: all count alike." in ladder.notes


def test_an_encoder_cannot_stand_in_for_interpolation():
    table = frame(60)
    with pytest.raises(ValueError, match="'idw' is a contender of every evaluation"):
        sx.evaluate(table, "warm", rungs=["random"], encoders=knows("warm", table, "idw"))


def test_a_damaged_cell_is_done_again(tmp_path):
    settings = {"rungs": ["random"], "seeds": 1, "encoders": "xyz", "models": ["ridge"],
                "folder": tmp_path}  # fmt: skip
    first = sx.evaluate(frame(60), "warm", **settings)
    for path in (tmp_path / "cells").iterdir():
        path.write_bytes(b"not a cell")
    RESULTS.clear()
    again = sx.evaluate(frame(60), "warm", **settings)
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_stopping_before_the_first_cell_is_said():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled, match="nothing to show"):
        sx.evaluate(frame(60), "warm", cancel=stop, seeds=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ["forest"]}, "models are ridge, kriging, logistic, boosting; got forest"),
        ({"models": []}, "got none"),
        ({"models": ["logistic"]}, "logistic regression predicts classes"),
        ({"encoders": []}, "name one encoder at least"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"max_places": 5}, "max_places must be at least 10"),
        ({"buffer_km": -1.0}, "buffer_km must lie between"),
        ({"group": "farm"}, "no column 'farm' to group by"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sx.evaluate(frame(60), "warm", **settings)


def test_the_command_line_says_table_and_verdict(tmp_path, capsys):
    frame(60).to_csv(tmp_path / "plots.csv", index=False)
    settings = ["--target", "warm", "--encoders", "xyz", "--models", "ridge", "--seeds", "1",
                "--rungs", "random", "20", "--out", str(tmp_path)]  # fmt: skip
    assert main([str(tmp_path / "plots.csv"), *settings]) == 0
    said = capsys.readouterr().out
    assert "20°" in said
    assert "Holm" in said
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 2 * 6 * 5
    assert main([str(tmp_path / "none.csv"), *settings]) == 2
    assert "none.csv" in capsys.readouterr().err


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
