import json
from dataclasses import replace

import numpy as np
import pytest

from satclip_explore.geo import equal_area_sample
from training.benchmark import main, task_digest
from training.probe import hold_out, train_probe
from training.tasks.atlas import load_task
from training.tasks.inaturalist import load_inaturalist_2018
from training.tasks.task import Task


@pytest.fixture
def folder(tmp_path):
    """Sixty photographs that train and twelve that test, of two species of a hemisphere each."""
    for part, images in (("train2018", range(60)), ("val2018", range(60, 72))):
        labels = [{"image_id": i, "category_id": i % 2} for i in images]
        names = [{"id": 0, "name": "Pica pica"}, {"id": 1, "name": "Parus major"}]
        (tmp_path / f"{part}.json").write_text(
            json.dumps({"annotations": labels, "categories": names})
        )
        places = [{"id": i, "lon": 5.0 * (i % 30), "lat": (i % 2) * 90 - 45.0} for i in images]
        places[0]["lon"] = None
        (tmp_path / f"{part}_locations.json").write_text(json.dumps(places))
    return tmp_path


def test_the_published_split_is_the_default_of_its_task(folder):
    task = load_inaturalist_2018(folder)
    assert (len(task), dict(task.dropped)) == (70, {"no place": 2})
    assert task.classes == ("Pica pica", "Parus major")
    rows = hold_out(task)
    np.testing.assert_array_equal(rows.train, np.arange(59))
    np.testing.assert_array_equal(rows.test, np.arange(59, 70))
    assert rows.facts == {"split": "published"}
    assert len(hold_out(task, split="random").test) != 11
    assert task_digest(task) != task_digest(replace(task, published_test=None))
    np.testing.assert_array_equal(hold_out(task.subset(np.arange(50, 70))).test, np.arange(9, 20))
    result = train_probe(task, model="linear", encoder="xyz", baselines=False, seeds=1)
    assert result.metrics["accuracy"].iloc[0] == 1.0
    assert result.facts["split_description"] == "inaturalist-2018 as published"


def test_a_species_with_one_photograph_stays_as_published(folder):
    path = folder / "val2018.json"
    content = json.loads(path.read_text())
    content["annotations"][3]["category_id"] = 7
    path.write_text(json.dumps(content))
    task = load_inaturalist_2018(folder)
    assert task.classes[-1] == "species 7"
    assert (len(task), task.published_test.sum()) == (70, 11)


def test_a_photograph_in_both_parts_is_refused(folder):
    for name in ("", "_locations"):
        text = (folder / f"train2018{name}.json").read_text()
        (folder / f"val2018{name}.json").write_text(text)
    with pytest.raises(ValueError, match="60 are in both, as image 0"):
        load_inaturalist_2018(folder)


def test_a_task_without_a_split_has_none_to_publish(folder):
    with pytest.raises(ValueError, match="published without a split"):
        hold_out(load_task("biome"), split="published")
    with pytest.raises(ValueError, match=r"published_test must be bool, of shape \(70,\)"):
        replace(load_inaturalist_2018(folder), published_test=np.ones(3, dtype=bool))


def test_the_command_line_takes_the_folder(folder, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    lonlat = equal_area_sample(100, seed=0)
    halves = Task("biome", "classification", lonlat, (lonlat[:, 1] > 0).astype(int), ("s", "n"))
    monkeypatch.setattr("training.benchmark.load_task", lambda name: halves)
    arguments = ["table1", "--tasks", "biome", "--encoders", "xyz", "--model", "linear",
                 "--seeds", "1", "--out", str(folder / "out"), "--inaturalist"]  # fmt: skip
    assert main([*arguments, str(folder)]) == 0
    said = capsys.readouterr().out
    assert "inaturalist-2018: 70 places; left out: 2 (no place)" in said
    assert "| inaturalist-2018 (accuracy" in said
    assert "Not run" not in said
    assert main([*arguments, str(folder / "none")]) == 2
    assert "train2018_locations.json" in capsys.readouterr().err
