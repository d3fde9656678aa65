import dataclasses
import json
import subprocess
import sys
import threading
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import Grid, equal_area_sample, unit_vectors
from satclip_explore.progress import Cancelled
from satclip_explore.regions import region
from satclip_explore.store import RESULTS
from training import probe
from training.probe import Losses, train_probe
from training.probes import registry
from training.probes.data import Scale
from training.probes.knn import KNNSettings
from training.probes.linear import LinearProbe
from training.probes.mlp import MLPProbe, MLPSettings
from training.probes.saved import load_probe
from training.tasks.atlas import load_task
from training.tasks.splits import Split, random_split
from training.tasks.task import Task

QUICK = MLPSettings(hidden_dim=16, steps=60, batch_size=64, precision="float32")


@pytest.fixture(scope="module")
def hemispheres():
    """Five hundred places; class by hemisphere and sign of longitude: four classes."""
    lonlat = equal_area_sample(500, seed=0)
    codes = (lonlat[:, 0] > 0) + 2 * (lonlat[:, 1] > 0)
    return Task("quarters", "classification", lonlat, codes.astype(int), ("sw", "se", "nw", "ne"))


@pytest.fixture(scope="module")
def heights():
    """Five hundred places; the target is smooth on the sphere."""
    lonlat = equal_area_sample(500, seed=1)
    x, y, z = unit_vectors(lonlat).T
    return Task("heights", "regression", lonlat, 100 + 10 * x - 7 * z + 3 * y, unit="m")


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_every_model_learns_a_target_that_its_embedding_holds(model, heights, hemispheres):
    result = train_probe(heights, model=model, encoder="xyz", baselines=False, seeds=2)
    # The target is linear in xyz: little may be left, and no probe is exact but ridge.
    assert 0.97 < result.metrics.loc["xyz", "r2"] <= 1.0
    result = train_probe(hemispheres, model=model, encoder="xyz", baselines=False, seeds=2)
    assert 0.9 < result.metrics.loc["xyz", "accuracy"] <= 1.0


def test_the_baselines_stand_beside_the_encoder(hemispheres):
    result = train_probe(hemispheres, model="linear", encoder="random-l10", seeds=1, baselines=True)
    assert list(result.metrics.index) == [
        "random-l10", "nearest", "lonlat", "xyz", "harmonics-l10",
    ]  # fmt: skip
    others = result.metrics.iloc[1:]
    assert (others["low"] <= others["difference"]).all()
    assert (others["difference"] <= others["high"]).all()
    assert np.isnan(result.metrics.loc["random-l10", "difference"])


def test_a_baseline_has_three_seeds_unless_it_is_asked_for_itself(hemispheres):
    result = train_probe(
        hemispheres, encoder="xyz", baselines=["lonlat", "harmonics-l10"], encoders=["lonlat"],
        seeds=[7, 5, 3, 1, 9], settings=QUICK,
    )  # fmt: skip
    counts = {name: len(fitted.predicted) for name, fitted in result.fitted.items()}
    assert counts == {"lonlat": 5, "xyz": 5, "harmonics-l10": 3}
    assert result.facts["baseline_seeds"] == "[7, 5, 3]"
    alone = train_probe(hemispheres, encoder="xyz", baselines=False, seeds=1, settings=QUICK)
    assert "baseline_seeds" not in alone.facts


def test_a_probe_is_fitted_once_for_the_same_rows(hemispheres, monkeypatch):
    RESULTS.clear()
    whole, widths = MLPProbe.fit.__func__, []

    def counted(cls, data, *args, **kwargs):
        widths.append(data.features.shape[1])
        return whole(cls, data, *args, **kwargs)

    monkeypatch.setattr(MLPProbe, "fit", classmethod(counted))

    def run(encoder="xyz", **changes):
        options = {"baselines": ["lonlat"], "seeds": 2, "settings": QUICK} | changes
        return train_probe(hemispheres, encoder=encoder, **options)

    cancel = threading.Event()
    with pytest.raises(Cancelled):
        run(on_progress=lambda losses: cancel.set(), cancel=cancel)
    first = run()
    assert widths == [2, 2, 3]  # a fit that was canceled is not kept
    again = run()
    assert widths == [2, 2, 3]
    pd.testing.assert_frame_equal(first.metrics, again.metrics)
    pd.testing.assert_frame_equal(first.curves, again.curves)
    run(split_seed=1)
    run(settings=dataclasses.replace(QUICK, steps=50))
    assert widths[3:] == [2, 3, 2, 3]


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_noise_scores_at_chance(model):
    rng = np.random.default_rng(0)
    lonlat = equal_area_sample(2000, seed=2)
    task = Task("noise", "classification", lonlat, rng.integers(0, 4, 2000), tuple("abcd"))
    result = train_probe(
        task, model=model, encoder="harmonics-l10", baselines=["nearest"], seeds=2,
        settings=MLPSettings(steps=200) if model == "mlp" else None,
    )  # fmt: skip
    # 1,000 test places at chance 0.25: the standard error is 0.014; five of them.
    assert (abs(result.metrics["accuracy"] - 0.25) < 0.07).all()
    values = Task("noise", "regression", lonlat, rng.normal(size=2000))
    result = train_probe(
        values, model=model, encoder="harmonics-l10", baselines=["nearest"], seeds=2
    )
    assert (result.metrics["r2"] < 0.05).all()


class Leaky(LocationEncoder):
    """One number per place, which says the answer where `knows` is true and noise elsewhere."""

    name, family, embed_dim = "leaky", "test", 1

    def __init__(self, task, knows):
        noise = np.random.default_rng(0).normal(size=len(task))
        self.values = {
            (round(lon, 9), round(lat, 9)): value
            for (lon, lat), value in zip(
                task.lonlat, np.where(knows, task.target, noise), strict=True
            )
        }

    def encode(self, lonlat):
        found = [self.values[round(lon, 9), round(lat, 9)] for lon, lat in lonlat.tolist()]
        return torch.tensor(found, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_a_leak_planted_in_the_test_set_is_never_found(model):
    # Embeddings hold the answer for test places only: a probe that had seen one of them while
    # standardizing, stopping early or choosing settings would use it and score above chance.
    rng = np.random.default_rng(3)
    lonlat = equal_area_sample(1200, seed=3)
    task = Task("leak", "regression", lonlat, rng.normal(size=1200))
    split = random_split(task)
    test = np.isin(np.arange(1200), split.test)
    options = {"split": split, "model": model, "baselines": False, "seeds": 2}
    if model == "mlp":
        options |= {"settings": MLPSettings(steps=100), "tune": True}
    result = train_probe(task, encoder=Leaky(task, test), **options)
    assert result.metrics.loc["leaky", "r2"] < 0.1
    # The other way round it must be found: the detector works.
    full = train_probe(task, encoder=Leaky(task, np.ones(1200, bool)), **options | {"tune": False})
    assert 0.9 < full.metrics.loc["leaky", "r2"] <= 1.0


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_test_rows_that_leak_into_training_and_validation_are_detected(model, monkeypatch):
    rng = np.random.default_rng(3)
    lonlat = equal_area_sample(1200, seed=3)
    task = Task("leak", "regression", lonlat, rng.normal(size=1200))
    split = random_split(task)
    honest = probe.training_data

    def leaking(task, rows, features, valid, scale, device):
        mixed = dataclasses.replace(rows, train=np.concatenate([rows.train, rows.test]))
        leaked = np.arange(len(rows.test)) % 5 == 0
        return honest(task, mixed, features, np.concatenate([valid, leaked]), scale, device)

    encoder = Leaky(task, np.isin(np.arange(1200), split.test))
    options = {"split": split, "model": model, "encoder": encoder, "baselines": False, "seeds": 2}
    if model == "mlp":
        options["settings"] = MLPSettings(steps=200)
    clean = train_probe(task, **options)
    monkeypatch.setattr(probe, "training_data", leaking)
    tainted = train_probe(task, **options)
    # Half of the rows then say the answer: far more than noise allows.
    assert clean.metrics.loc["leaky", "r2"] < 0.1
    assert tainted.metrics.loc["leaky", "r2"] > 0.3


def test_tuned_settings_are_used_and_written_down(heights):
    result = train_probe(
        heights, encoder="xyz", baselines=False, seeds=2, tune=True,
        settings=MLPSettings(hidden_dim=8, steps=40, learning_rate=1e-5),
    )  # fmt: skip
    assert result.facts["tuned"] == "true"
    chosen = result.model.probe.settings
    assert chosen["learning_rate"] > 1e-5
    assert str(chosen["learning_rate"]) in result.facts["settings"]
    plain = train_probe(
        heights, encoder="xyz", baselines=False, seeds=2,
        settings=MLPSettings(hidden_dim=8, steps=40, learning_rate=1e-5),
    )  # fmt: skip
    assert plain.metrics.loc["xyz", "mse"] > result.metrics.loc["xyz", "mse"]


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_test_labels_change_nothing_but_the_scores(model, heights):
    split = random_split(heights)
    target = heights.target.copy()
    target[split.test] = np.random.default_rng(0).normal(1e6, 1e5, len(split.test))
    other = Task("heights", "regression", heights.lonlat, target)
    one, two = (
        train_probe(
            task, split=split, model=model, encoder="xyz", baselines=False, seeds=2,
            settings=QUICK if model == "mlp" else None, tune=model == "mlp",
        )
        for task in (heights, other)
    )  # fmt: skip
    for name, tensor in one.model.probe.tensors().items():
        assert torch.equal(tensor, two.model.probe.tensors()[name]), name
    assert one.scale == two.scale


def test_updates_come_while_it_trains_and_name_the_encoder(hemispheres):
    seen = []
    train_probe(
        hemispheres, encoder="xyz", baselines=["lonlat"], seeds=3, settings=QUICK,
        on_progress=seen.append,
    )  # fmt: skip
    assert {losses.encoder for losses in seen} == {"lonlat", "xyz"}
    assert all(isinstance(losses, Losses) and losses.valid.shape == (3,) for losses in seen)
    assert seen[0].step == 0
    assert {losses.share for losses in seen} == {0.0, 0.5}


def test_cancel_keeps_what_was_learned(hemispheres):
    cancel = threading.Event()

    def stop(losses):
        if losses.encoder == "xyz" and losses.step > 0:
            cancel.set()

    result = train_probe(
        hemispheres, encoder="xyz", seeds=2, settings=QUICK, on_progress=stop, cancel=cancel
    )
    assert "harmonics-l10" not in result.metrics.index
    assert result.facts["complete"] == "false"
    assert result.predict([(10.0, 10.0)])["prediction"].item() in hemispheres.classes


def test_canceled_before_the_encoder_there_is_nothing_to_show(hemispheres):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match="before xyz had a probe"):
        train_probe(hemispheres, encoder="xyz", cancel=cancel)


def test_an_interrupt_ends_the_training_and_keeps_the_weights(hemispheres):
    def interrupt(losses):
        if losses.step > 0:
            raise KeyboardInterrupt

    result = train_probe(
        hemispheres, encoder="xyz", baselines=False, settings=QUICK, on_progress=interrupt
    )
    assert 0 < result.model.probe.settings["stopped_at"] < 60 or len(result.curves)


def test_the_result_shows_itself_with_everything_escaped(heights, hemispheres):
    pytest.importorskip("matplotlib")
    evil = "<script>$x</script>"
    for task in (
        Task(evil, "regression", heights.lonlat, heights.target, unit=evil),
        Task(evil, "classification", hemispheres.lonlat, hemispheres.target, (evil, "b", "c", "d")),
    ):
        result = train_probe(task, encoder="xyz", baselines=["nearest"], settings=QUICK, seeds=2)
        page = result._repr_html_()
        assert "<script>" not in page
        assert "data:image/png;base64," in page
        assert "xyz" in repr(result)
        assert set(result.curves.columns) == {"encoder", "step", "seed", "train", "valid"}
        assert len(result.test) == len(result.split.test)


def test_the_verdict_speaks_of_classes_never_seen():
    lonlat = equal_area_sample(400, seed=0)
    codes = np.where(lonlat[:, 0] > 0, 1, 0) + 2 * (lonlat[:, 0] > 90)
    task = Task("t", "classification", lonlat, codes, tuple("abcd"))
    split = Split(np.flatnonzero(codes < 2), np.flatnonzero(codes >= 1), "by hand", {})
    result = train_probe(task, split=split, encoder="xyz", baselines=["nearest"], model="linear")
    assert 0 < result.ceiling < 1
    assert result.metrics.loc["xyz", "accuracy"] <= result.ceiling
    assert any("without a single training place" in line for line in result.verdict())


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_rasters_agree_with_points_and_have_a_spread(model, heights, hemispheres, tiny_encoder):
    for task in (heights, hemispheres):
        result = train_probe(
            task, model=model, encoder=tiny_encoder, baselines=False, seeds=3,
            settings=QUICK if model == "mlp" else None,
        )  # fmt: skip
        raster = result.predict_raster(30.0)
        assert raster.dims == ("lat", "lon")
        assert raster.lat[0] > raster.lat[-1]
        points = np.stack(np.meshgrid(raster.lon, raster.lat), -1).reshape(-1, 2)
        table = result.predict(points)
        if task.is_classification:
            names = np.array(json.loads(raster.attrs["classes"]))[raster.values.ravel()]
            # A pixel on the border may fall either way in the last digits of float32.
            assert (names == table["prediction"].to_numpy()).mean() > 0.95
        else:
            # Folded and unfolded float32 weights: 1e-3 of targets near 100.
            np.testing.assert_allclose(raster.values.ravel(), table["prediction"], atol=0.1)
        assert (raster.spread >= 0).all()
        assert bool((raster.spread > 0).any()) == (model == "mlp")


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_a_saved_probe_predicts_the_same_after_loading(model, hemispheres, heights, tmp_path):
    for task in (hemispheres, heights):
        result = train_probe(
            task, model=model, encoder="xyz", baselines=["lonlat"], seeds=2,
            settings=QUICK if model == "mlp" else None,
        )  # fmt: skip
        path = result.save(tmp_path / f"{task.name}.safetensors")
        loaded = load_probe(path)
        places = equal_area_sample(50, seed=9)
        assert loaded.predict(places).equals(result.predict(places))
        assert loaded.facts["task"] == task.name
        assert loaded.facts["model"] == model
        np.testing.assert_allclose(
            loaded.metrics.to_numpy(float), result.metrics.to_numpy(float), rtol=1e-9, atol=1e-14
        )
        assert "<table" in loaded._repr_html_()


def test_a_file_that_is_no_probe_is_refused(hemispheres, tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no probe"):
        load_probe(tmp_path / "none.safetensors")
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"not this")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_probe(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not a probe"):
        load_probe(path)
    save_file({"weight": torch.zeros(1)}, path, {"format": "satclip_explore probe 1"})
    with pytest.raises(ValueError, match="not a complete probe"):
        load_probe(path)


@pytest.mark.parametrize("model", ["mlp", "linear", "knn", "kriging"])
def test_tensors_that_do_not_belong_together_are_refused(model, hemispheres, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    result = train_probe(hemispheres, model=model, encoder="xyz", baselines=False, seeds=2)
    path = result.save(tmp_path / "probe.safetensors")
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in tensors:
        save_file({**tensors, name: torch.zeros(3, 2, 5)}, path, header)
        with pytest.raises(ValueError, match=r"has shape|class codes"):
            load_probe(path)
    save_file(tensors, path, {**header, "kind": "<b>magic</b>"})
    with pytest.raises(ValueError, match="unknown kind"):
        load_probe(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.nan}, "not finite"),
        ({"bias": -torch.inf}, "not finite"),
        ({"scale": "[0.0, 0.0]"}, "no usable scale"),
        ({"scale": "[NaN, 1.0]"}, "no usable scale"),
        ({"scale": "[0.0, Infinity]"}, "no usable scale"),
    ],
)
def test_a_file_that_cannot_give_numbers_is_refused(change, message, heights, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    result = train_probe(heights, model="linear", encoder="xyz", baselines=False)
    path = result.save(tmp_path / "probe.safetensors")
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = {name: tensor.clone() for name, tensor in result.model.probe.tensors().items()}
    for name, value in change.items():
        if name in tensors:
            tensors[name].view(-1)[0] = value
        else:
            header[name] = value
    save_file(tensors, path, header)
    with pytest.raises(ValueError, match=message):
        load_probe(path)


def test_a_probe_of_other_weights_is_refused(hemispheres, tiny_encoder, tmp_path):
    tiny_encoder.weights_hash = "abc"
    result = train_probe(hemispheres, encoder=tiny_encoder, baselines=False, settings=QUICK)
    path = result.save(tmp_path / "probe.safetensors")
    with pytest.raises(ValueError, match="trained on weights abc"):
        load_probe(path, encoder=load_encoder("xyz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "forest"}, "model must be one of"),
        ({"task": "ecoregions"}, "did you mean"),
        ({"seeds": 0}, "seeds must be"),
        ({"seeds": [1, 1]}, "seeds must be"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"seeds": 10**18}, "seeds must be"),
        ({"seeds": range(10**18)}, "seeds must be"),
        ({"seeds": [2**63]}, "seeds must be"),
        ({"seeds": None}, "seeds must be"),
        ({"seeds": True}, "seeds must be"),
        ({"seeds": Fraction(3)}, "seeds must be"),
        ({"seeds": Decimal("sNaN")}, "seeds must be"),
        ({"seeds": [date(2024, 1, 1)]}, "seeds must be"),
        ({"model": "kernel"}, "Did you mean 'kriging'"),
        ({"model": "liner"}, "Did you mean 'linear'"),
        ({"target": "biomass"}, "tables"),
        ({"baselines": ["magic"]}, "baselines are"),
        ({"region": "Africa", "split": "random"}, "not both"),
        ({"split": "odd"}, "random, blocks or published"),
        ({"model": "linear", "tune": True}, "tune=True"),
        ({"region": "Africa", "shots": 0}, "at least 1"),
        ({"region": "Atlantis"}, "Atlantis"),
        ({"encoder": "no-such-encoder"}, "no encoder is called"),
        ({"device": "abacus"}, "not available"),
        ({"seeds": 100, "split": Split(np.arange(20), np.arange(20, 500), "", {})}, "fewer than"),
    ],
)
def test_bad_arguments_get_one_sentence(change, message, hemispheres):
    with pytest.raises(ValueError, match=message) as caught:
        train_probe(**{"task": hemispheres, "encoder": "xyz", **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dims": 8}, "did you mean 'hidden_dim'"),
        ({"n_neighbors": 8}, "has no setting 'n_neighbors'"),
        (KNNSettings(3), "settings of 'mlp'"),
    ],
)
def test_settings_of_another_probe_are_refused(settings, message, hemispheres):
    with pytest.raises(TypeError, match=message):
        train_probe(hemispheres, encoder="xyz", settings=settings)


NUMBERS = [
    (name, field.name)
    for name in registry.MODELS
    for field in dataclasses.fields(registry.PROBES[name].Settings)
    if field.name != "precision"
]


@pytest.mark.parametrize(
    "value", [Decimal(1), Decimal("sNaN"), Fraction(1, 2), date(2024, 1, 1), "1", True], ids=repr
)
@pytest.mark.parametrize(("model", "name"), NUMBERS)
def test_settings_that_are_no_numbers_are_refused(model, name, value):
    with pytest.raises(TypeError, match=f"^{name} must be a") as refused:
        registry.PROBES[model].as_settings({name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("model", "name"), NUMBERS)
@pytest.mark.parametrize("value", [-1, 10**18])
def test_settings_out_of_range_are_refused(model, name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        registry.PROBES[model].as_settings({name: value})


def test_settings_of_numpy_become_plain_numbers_and_a_default_none_stays():
    settings = MLPSettings(hidden_dim=np.int64(8), learning_rate=np.float32(0.5), steps=None)
    assert json.loads(json.dumps(dataclasses.asdict(settings)))["hidden_dim"] == 8
    assert settings.steps is None
    with pytest.raises(TypeError, match="hidden_dim must be a whole number"):
        MLPSettings(hidden_dim=None)
    with pytest.raises(ValueError, match="precision must be one of"):
        MLPSettings(precision="float16")


@pytest.mark.parametrize("value", [None, Decimal("sNaN"), Fraction(1), 1.0, date(2024, 1, 1)])
def test_a_split_seed_that_is_no_whole_number_is_refused(value, hemispheres):
    split = random_split(hemispheres)
    with pytest.raises(TypeError, match="split_seed must be a whole number"):
        train_probe(hemispheres, encoder="xyz", split=split, split_seed=value)


def test_every_probe_takes_its_settings_as_a_mapping(hemispheres):
    result = train_probe(
        hemispheres, encoder="xyz", model="knn", settings={"n_neighbors": 7}, baselines=False
    )
    assert result.model.probe.settings["n_neighbors"] == 7


def test_a_file_or_a_frame_is_a_task(heights, tmp_path, monkeypatch):
    frame = pd.DataFrame(heights.lonlat, columns=["lon", "lat"])
    frame["biomass"], frame["note"] = heights.target, "x"
    frame.to_csv(tmp_path / "plots.csv", index=False)
    monkeypatch.chdir(tmp_path)
    run = partial(train_probe, target="biomass", model="linear", encoder="xyz", baselines=False)
    expected = run(frame).metrics
    assert 0.99 < expected.loc["xyz", "r2"] <= 1.0
    for table in ("plots.csv", tmp_path / "plots.csv", (tmp_path / "plots.csv").read_bytes()):
        pd.testing.assert_frame_equal(run(table).metrics, expected)
    with pytest.raises(FileNotFoundError, match=r"no table at gone\.csv"):
        run("gone.csv")
    with pytest.raises(ValueError, match="which column"):
        train_probe(frame)


def test_a_new_probe_is_one_class_and_one_line(hemispheres, monkeypatch, tmp_path):
    class Majority(LinearProbe):
        """Scores of the training shares, whatever the embedding."""

        kind, label = "majority", "most frequent class"

        @classmethod
        def fit(cls, data, seeds, settings=None, *, on_step=None, cancel=None):
            counts = torch.bincount(data.target, minlength=data.n_classes).float()
            weight = torch.zeros(1, data.n_classes, data.features.shape[1])
            return cls(weight, counts[None], {})

    monkeypatch.setattr(registry, "MODELS", (*registry.MODELS, "majority"))
    monkeypatch.setattr(registry, "PROBES", registry.PROBES | {"majority": Majority})
    monkeypatch.setattr("training.probes.saved.PROBES", registry.PROBES)
    result = train_probe(hemispheres, model="majority", encoder="xyz", baselines=False)
    codes = hemispheres.target
    common = np.bincount(codes[result.split.train]).argmax()
    assert result.metrics.loc["xyz", "accuracy"] == (codes[result.split.test] == common).mean()
    loaded = load_probe(result.save(tmp_path / "probe.safetensors"))
    assert set(loaded.predict(hemispheres.lonlat)["prediction"]) == {hemispheres.classes[common]}
    assert (result.predict_raster(30.0) == common).all()


ADDED = """
import io, sys
from contextlib import redirect_stdout, suppress
from training.probes import knn, linear

class Majority(linear.LinearProbe):
    kind, label = "majority", "most frequent class"

# The registry is read once: this stands for the line that a new probe has in it.
knn.KNNProbe = Majority
from satclip_explore.geo import equal_area_sample
from satclip_explore.panes.compare.pane import ComparePane
from satclip_explore.panes.probe.pane import ProbePane
from training import benchmark
from training.probe import train_probe
from training.probes.saved import load_probe
from training.tasks.task import Task

for pane in (ComparePane, ProbePane):
    assert pane.param.model.objects["most frequent class"] == "majority", pane
with redirect_stdout(io.StringIO()) as text, suppress(SystemExit):
    benchmark.main(["--help"])
assert "majority" in text.getvalue()
places = equal_area_sample(60, seed=0)
task = Task("t", "classification", places, (places[:, 1] > 0).astype(int), ("south", "north"))
result = train_probe(task, model="majority", encoder="xyz", baselines=False)
assert type(load_probe(result.save(sys.argv[1])).probe) is Majority
"""


def test_a_registered_probe_is_in_every_menu_on_the_command_line_and_in_files(tmp_path):
    pytest.importorskip("panel_material_ui")
    command = [sys.executable, "-c", ADDED, str(tmp_path / "probe.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_with_former_names_is_read(hemispheres, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    result = train_probe(hemispheres, model="kriging", encoder="xyz", baselines=False)
    path = result.save(tmp_path / "probe.safetensors")
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    former = {"kind": "kernel", "facts": header["facts"].replace("task_license", "task_licence")}
    save_file(result.model.probe.tensors(), path, {**header, **former})
    places = equal_area_sample(50, seed=9)
    probe = load_probe(path)
    assert probe.predict(places).equals(result.predict(places))
    assert probe.facts["task_license"] == result.facts["task_license"]


def test_a_training_set_of_one_class_is_refused(hemispheres):
    one = np.flatnonzero(hemispheres.target == 0)
    split = Split(one[:50], np.flatnonzero(hemispheres.target == 1), "one class", {})
    with pytest.raises(ValueError, match="same label"):
        train_probe(hemispheres, encoder="xyz", split=split)


class Partial(LocationEncoder):
    """Knows the east only."""

    name, family, embed_dim = "partial", "test", 2

    def coverage(self, lonlat):
        return np.asarray(lonlat)[:, 0] > 0

    def encode(self, lonlat):
        return torch.where(lonlat[:, :1] > 0, lonlat, torch.nan).float()


def test_a_split_of_all_places_is_refused_where_some_are_not_covered(hemispheres):
    split = Split(np.arange(200), np.arange(200, 400), "by number", {})
    with pytest.raises(ValueError, match="a Split counts all places of the task"):
        train_probe(hemispheres, encoder=Partial(), split=split)


def test_places_without_coverage_are_left_out_for_everybody(hemispheres):
    result = train_probe(hemispheres, encoder=Partial(), baselines=["xyz"], model="linear", seeds=1)
    assert (result.test["lon"] > 0).all()
    assert int(result.facts["places_without_coverage"]) == (hemispheres.lonlat[:, 0] <= 0).sum()
    table = result.predict([(-10.0, 10.0), (10.0, 10.0)])
    assert table["prediction"].isna().tolist() == [True, False]
    raster = result.predict_raster(30.0)
    assert (raster.sel(lon=raster.lon < 0) == -1).all()
    assert np.isnan(raster.spread.values[0, 0])
    box = result.predict_raster(30.0, region=(-60, -30, 60, 30))
    assert box.shape == (2, 4)
    piece = raster.sel(lon=box.lon, lat=box.lat)
    np.testing.assert_array_equal(box, piece)
    inside = region("Africa")
    africa = result.predict_raster(10.0, region=inside)
    grid = Grid(inside.bounds, africa.shape)
    outside = ~inside.contains(grid.lonlat).reshape(grid.shape)
    assert outside.any()
    assert (africa.values[outside] == -1).all()
    assert np.isnan(africa.spread.values[outside]).all()
    np.testing.assert_array_equal(
        africa.values[~outside], result.predict_raster(grid=grid).values[~outside]
    )


def test_a_mistyped_keyword_is_refused_with_the_close_match(hemispheres):
    with pytest.raises(TypeError, match="Did you mean region"):
        train_probe(hemispheres, regoin="Africa")
    with pytest.raises(TypeError, match="Did you mean download"):
        load_task("air_temperature", downlaod=True)


def test_image_features_join_the_embedding_but_a_map_is_refused(hemispheres):
    answer = np.eye(4, dtype=np.float32)[hemispheres.target]
    noise = np.zeros((500, 4), dtype=np.float32)
    scores = []
    for features in (answer, noise):
        task = Task(
            "with images", "classification", hemispheres.lonlat, hemispheres.target,
            hemispheres.classes, image_features=features,
        )  # fmt: skip
        result = train_probe(task, encoder="lonlat", model="linear", baselines=False)
        scores.append(result.metrics.loc["lonlat", "accuracy"])
    assert 0.99 < scores[0] <= 1.0
    assert scores[1] < scores[0]
    with pytest.raises(ValueError, match="image features"):
        result.predict([(0.0, 0.0)])
    with pytest.raises(ValueError, match="image features"):
        result.predict_raster(30.0)


def test_the_scale_comes_from_training_rows(heights):
    split = random_split(heights)
    result = train_probe(heights, split=split, encoder="xyz", model="linear", baselines=False)
    train = heights.target[split.train]
    assert result.scale == Scale(float(train.mean()), float(train.std()))


def test_predictions_of_no_places_are_an_empty_table(hemispheres):
    result = train_probe(hemispheres, encoder="xyz", model="linear", baselines=False)
    assert len(result.predict(np.zeros((0, 2)))) == 0
