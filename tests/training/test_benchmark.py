import ast
import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from satclip_explore.geo import equal_area_sample
from training import benchmark
from training.benchmark import Cell, Results, figure2b, main, run, table1
from training.probes.full_batch_mlp import FullBatchMLPSettings
from training.probes.mlp import MLPProbe
from training.probes.report import figure_png, markdown
from training.tasks.published import tables_of
from training.tasks.task import Task


@pytest.fixture
def small(monkeypatch):
    """Put a small task in place of the atlas."""
    lonlat = equal_area_sample(600, seed=0)
    codes = (lonlat[:, 1] > 0).astype(int) + 2 * (lonlat[:, 0] > 0)
    task = Task("biome", "classification", lonlat, codes, tuple("abcd"))
    monkeypatch.setattr(benchmark, "load_task", lambda name: task)


def cells(*encoders):
    return [Cell(one, "biome", model="linear", seeds=2) for one in encoders]


def test_a_run_goes_on_where_it_was(small, tmp_path, monkeypatch):
    scores, missing = run(cells("xyz", "nearest"), tmp_path, say=lambda line: None)
    assert not missing
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"key": "torn off in the mid')
    monkeypatch.setattr(benchmark, "_score", lambda cell, *rest: pytest.fail(str(cell)))
    again, _ = run(cells("xyz", "nearest"), tmp_path, say=lambda line: None)
    pd.testing.assert_frame_equal(scores, again)
    assert set(scores["encoder"]) == {"xyz", "nearest"}
    assert (scores["mean"] > 0.5).all()
    assert (scores["mean"] <= 1.0).all()


def test_other_settings_are_other_cells(small, tmp_path):
    run(cells("xyz"), tmp_path, say=lambda line: None)
    run([Cell("xyz", "biome", model="knn", seeds=2)], tmp_path, say=lambda line: None)
    assert len(Results(tmp_path / "results.jsonl").rows) == 2


def test_missing_weights_say_which_file_and_where_from(small, tmp_path):
    scores, missing = run(cells("satclip-vit16-l40", "xyz"), tmp_path, say=lambda line: None)
    assert len(scores) == 1
    assert "satclip-vit16-l40.ckpt" in missing[0]
    assert "https://huggingface.co" in missing[0]
    assert " /" not in missing[0]


def test_table_1_says_where_the_published_figures_are(small, tmp_path):
    scores, _ = run(cells("xyz", "nearest"), tmp_path, say=lambda line: None)
    text = markdown(scores, ["gps2vec: where"], "table1")
    assert "| encoder | biome (accuracy ↑) |" in text
    assert "Table 1 of Klemmer et al. 2023, arXiv:2311.17179" in text
    assert "- gps2vec: where" in text
    assert "nearest" in text.splitlines()[3]


def test_cells_of_other_code_or_labels_are_done_again(small, tmp_path, monkeypatch):
    run(cells("xyz"), tmp_path, say=lambda line: None)
    monkeypatch.setattr(benchmark, "revision", lambda: "another")
    run(cells("xyz"), tmp_path, say=lambda line: None)
    assert len(Results(tmp_path / "results.jsonl").rows) == 2
    lonlat = equal_area_sample(600, seed=0)
    other = Task("biome", "classification", lonlat, (lonlat[:, 0] > 0).astype(int), ("a", "b"))
    monkeypatch.setattr(benchmark, "load_task", lambda name: other)
    run(cells("xyz"), tmp_path, say=lambda line: None)
    assert len(Results(tmp_path / "results.jsonl").rows) == 3


CONTENT = {
    "training.tasks.atlas",
    "training.tasks.inaturalist",
    "training.tasks.kinds",
    "training.tasks.published",
    "training.tasks.tables",
}
"""Readers of tasks: what they read is in the digest of the task, place by place."""


def test_scoring_covers_every_module_that_decides_a_score():
    reached, waiting = set(), ["training.benchmark", "training.probe"]
    while waiting:
        name = waiting.pop()
        # Cells of CoordBench know the text that made them: see training.evaluation.cells.
        seen = name in reached or name.startswith("training.evaluation")
        found = None if seen else find_spec(name)
        if found is None or not found.origin.endswith(".py"):
            continue
        reached.add(name)
        for node in ast.walk(ast.parse(Path(found.origin).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("training"):
                waiting.append(node.module)
    rooms = {"training.probes", "training.tasks"}
    assert {"training.probes.mlp_training", "training.tasks.blocks"} <= reached
    assert reached - rooms - CONTENT <= set(benchmark.SCORING)


def test_groups_are_part_of_a_task_as_are_places_and_labels():
    lonlat = equal_area_sample(20, seed=0)
    task = Task("t", "regression", lonlat, np.arange(20.0))
    others = [
        Task("t", "regression", -lonlat, np.arange(20.0)),
        Task("t", "regression", lonlat, -np.arange(20.0)),
        Task("t", "regression", lonlat, np.arange(20.0), groups=np.arange(20) // 2),
    ]
    assert len({benchmark.task_digest(each) for each in (task, *others)}) == 4


def test_the_revision_is_that_of_the_text_of_the_modules(monkeypatch):
    before = benchmark.revision()
    assert before == benchmark.revision()
    monkeypatch.setattr(benchmark, "SCORING", benchmark.SCORING[1:])
    assert benchmark.revision() != before


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("put a.ckpt at /home/me/.cache/x/a.ckpt or pass path=.", "put a.ckpt at a.ckpt or pass"),
        ("no weights at ../shared/weights/a.tar", "no weights at a.tar"),
        ("~/cache/q.ckpt", "q.ckpt"),
        ("C:\\me\\y.ckpt is not here", "y.ckpt is not here"),
        ("from https://huggingface.co/a/b here", "from https://huggingface.co/a/b here"),
        ("take geoclip/model/weights.pth out", "take geoclip/model/weights.pth out"),
    ],
)
def test_folders_of_this_machine_do_not_reach_the_table(text, kept):
    assert benchmark.without_folders(text).startswith(kept)


def test_figure_2b_shows_the_ceiling(small, tmp_path):
    pytest.importorskip("matplotlib")
    some = [Cell("xyz", "biome", "Africa", shots, "linear", 2) for shots in (0.1, 0.5)]
    scores, _ = run(some, tmp_path, say=lambda line: None)
    text = markdown(scores, [], "figure2b")
    assert "*ceiling*" in text
    assert "biome, 10% (accuracy ↑)" in text
    for what in ("figure2b", "table1"):
        assert figure_png(scores, what).startswith(b"\x89PNG")


def test_names_cannot_break_the_table():
    scores = pd.DataFrame(
        [{"encoder": "a|b\nc", "task": "t", "metric": "mse", "mean": 1.0, "sd": 0.0}]
    )
    line = markdown(scores, [], "table1").splitlines()[2]
    assert line == "| a\\|b c | 1.000 ± 0.000 |"


def test_the_command_line_writes_table_and_figure(small, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    arguments = ["table1", "--encoders", "xyz", "--tasks", "biome", "--model", "linear",
                 "--seeds", "2", "--out", str(tmp_path)]  # fmt: skip
    assert main(arguments) == 0
    assert "iNaturalist" not in capsys.readouterr().out
    monkeypatch.setattr("training.benchmark.TABLE1_TASKS", ("biome",))
    assert main([part for part in arguments if part not in ("--tasks", "biome")]) == 0
    assert "Not run: iNaturalist" in capsys.readouterr().out.replace("\n\n- ", " ")
    assert (tmp_path / "table1.md").read_text().startswith("| encoder")
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {row["encoder"] for row in rows} >= {"xyz", "nearest", "lonlat"}


def test_the_command_line_refuses_in_one_sentence(tmp_path, capsys):
    assert main(["table1", "--tasks", "boime", "--out", str(tmp_path)]) == 2
    assert "did you mean 'biome'" in capsys.readouterr().err


def test_the_experiments_list_their_cells():
    assert len(table1(["a", "b"], ["t", "u"], "mlp", 3)) == 4
    cells = figure2b(["a"], ["t"], "mlp", 3, "Asia")
    assert [cell.shots for cell in cells if cell.model == "mlp"] == [0.01, 0.05, 0.1, 0.25]
    assert [cell.seeds for cell in cells if cell.model == "kriging"] == [1] * 8
    assert {cell.encoder for cell in cells if cell.model == "kriging"} == {"a", "xyz"}
    assert {cell.region for cell in cells} == {"Asia"}
    assert len(figure2b(["nearest"], ["t"], "mlp", 3, "Asia")) == 8
    assert len(figure2b(["a"], ["t"], "kriging", 3, "Asia")) == 4


def test_an_encoder_may_be_shown_under_another_name(small, tmp_path):
    scores, missing = run(cells("plain=xyz", "gone=no/such.ckpt"), tmp_path, say=lambda line: None)
    assert list(scores["encoder"]) == ["plain"]
    assert missing[0].startswith("gone=")


def test_the_probe_that_knows_the_place_has_a_row_of_its_own(small, tmp_path):
    ways = (("xyz", "linear"), ("xyz", "kriging"), ("wrap", "kriging"))
    some = [Cell(name, "biome", "Africa", 0.1, model, 1) for name, model in ways]
    scores, _ = run(some, tmp_path, say=lambda line: None)
    assert list(scores["encoder"]) == ["xyz", "place alone", "wrap + place"]


def test_a_tuned_cell_is_another_cell_with_a_row_of_its_own(small, tmp_path, monkeypatch):
    few = classmethod(lambda cls, settings: {"hidden_dim": [8]})
    monkeypatch.setattr(MLPProbe, "alternatives", few)
    plain = Cell("xyz", "biome", model="mlp", seeds=1)
    both = [plain, *benchmark.tuned([plain])]
    scores, _ = run(both, tmp_path, say=lambda line: None)
    assert list(scores["encoder"]) == ["xyz", "xyz, tuned"]
    assert list(scores["tuned"]) == [False, True]
    assert len(Results(tmp_path / "results.jsonl").rows) == 2
    text = markdown(scores, [], "table1")
    assert "| xyz, tuned |" in text
    assert "chose learning rate" in text
    assert "chose learning rate" not in markdown(scores[:1], [], "table1")
    with pytest.raises(ValueError, match="--tune needs a probe with a search: mlp"):
        benchmark.tuned(cells("xyz"))


@pytest.fixture
def labels(tmp_path):
    """Eighty places in the columns of the authors' tables, a quarter of them in the sea."""
    lonlat = equal_area_sample(80, seed=0)
    frame = pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1]})
    frame["ecoregion_class_index"] = [-1] * 20 + [3, 7, 11] * 20
    frame["country"] = [0] * 20 + [10, 20] * 30
    frame["elevation"] = np.linspace(-30.5, 4000.25, 80)
    return frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_authors_tables_are_known_by_their_task(labels, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    labels.to_csv(path, index=False) if suffix == "csv" else labels.to_parquet(path)
    found = tables_of([f"ecoregion={path}", f"country={path}", f"elevation={path}", "biome"], None)
    assert list(found) == ["ecoregion", "country", "elevation"]
    assert [task.kind for task in found.values()] == [*["classification"] * 2, "regression"]
    assert set(found["ecoregion"].classes) == {"3", "7", "11"}
    assert set(found["country"].classes) == {"10", "20"}
    assert [len(task) for task in found.values()] == [60, 60, 80]
    assert found["country"].dropped == {"no label": 20}


def test_a_table_of_ones_own_says_which_column_to_predict(labels, tmp_path):
    path = tmp_path / "labels.csv"
    labels.to_csv(path, index=False)
    assert tables_of([f"height={path}"], "elevation")["height"].kind == "regression"
    with pytest.raises(ValueError, match="say which column"):
        tables_of([f"height={path}"], None)
    with pytest.raises(ValueError, match="--task NAME=FILE"):
        tables_of(["biome"], "elevation")


def test_a_missing_table_says_where_the_authors_share_theirs(tmp_path, capsys):
    assert main(["table1", "--task", "elevation=gone.csv", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "labels_elevation.csv at https://drive.google.com" in said
    assert "data/satclip_elevation/data.parquet" in said


def test_the_published_probe_has_a_second_row_where_the_target_is_a_number(
    labels, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("matplotlib")
    few = partial(FullBatchMLPSettings, steps=3)
    monkeypatch.setattr("training.probes.full_batch_mlp.FullBatchMLPSettings", few)
    path = tmp_path / "labels.csv"
    labels.to_csv(path, index=False)
    arguments = ["table1", "--task", f"elevation={path}", f"country={path}", "--model", "linear",
                 "--encoders", "xyz", "--published", "--seeds", "1"]  # fmt: skip
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "country: 60 places; left out: 20 (no label)" in said
    lines = [line for line in said.splitlines() if line.startswith("| xyz")]
    assert [line.split(" | ")[0] for line in lines] == ["| xyz", "| xyz, as published"]
    assert lines[1].endswith("|  |") or "nan" in lines[1]
    assert "probe of the authors' notebook" in said
    assert "nearest, as published" not in said
