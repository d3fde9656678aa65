"""The whole run on a painted Earth: results, resuming, killing, stopping, several processes."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from satclip_explore import load_encoder
from satclip_explore.precision import fast_precision
from satclip_explore.store import RESULTS
from training.export import export_run
from training.pretrain import Cancelled, main, pretrain
from training.pretraining import epoch_probes
from training.pretraining.batches import PlacePairs
from training.pretraining.config import PretrainConfig
from training.pretraining.distributed import Processes
from training.pretraining.epoch_probes import probe_scores
from training.pretraining.loop import Loop
from training.pretraining.model import rate_at

ROOT = Path(__file__).resolve().parents[3]

SMALL = {
    "places": 300,
    "validation_places": 40,
    "batch_size": 64,
    "epochs": 3,
    "legendre_polys": 5,
    "hidden_dim": 32,
    "embed_dim": 16,
    "position_eigenfunctions": 3,
    "position_near_features": 1,
    "scales_km": (100.0, 1000.0),
    "components": 6,
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(earth, cache, tmp_path):
    """Pretrain on the painted Earth with small settings."""

    def call(output="run", **changes):
        return pretrain(
            PretrainConfig(), data=earth, output=tmp_path / output, cache=cache, **SMALL | changes
        )

    return call


def weights(folder):
    return load_file(folder / "encoder.safetensors")


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_a_run_ends_in_a_folder_that_load_encoder_opens(run):
    epochs, steps = [], []
    folder = run(on_epoch=epochs.append, on_progress=steps.append, learning_rate=3e-3, epochs=20)
    encoder = load_encoder(folder)
    assert encoder.embed([(13.4, 52.5)]).shape == (1, 16)
    assert [p.epoch for p in epochs] == list(range(1, 21))
    assert epochs[-1].loss < epochs[0].loss
    np.testing.assert_array_equal(
        epochs[-1].encoder.embed([(13.4, 52.5)]), encoder.embed([(13.4, 52.5)])
    )
    found = epochs[-1].validation
    assert found.candidates == 40
    # A guess finds 1 and 10 in forty.
    assert found.recall_at_1 > 0.06
    assert found.recall_at_10 > 0.32
    training = [p for p in steps if p.stage == "training"]
    assert [p.done for p in training] == list(range(1, training[-1].total + 1))
    assert all(p.places_per_second > 0 and p.seconds_left >= 0 for p in training)
    card = json.loads((folder / "config.json").read_text())["card"]
    assert card["epochs"] == 20
    assert card["settings"]["training"]["learning_rate"] == 3e-3
    assert card["data"]["source"] == "blue-marble"
    assert card["validation"]["recall_at_1"] == found.recall_at_1


def test_gradients_of_several_batches_make_one_step(run):
    """Accumulating over a whole epoch is one step; its loss is the mean of the batches."""
    steps = []
    folder = run(
        on_progress=steps.append, accumulate=100, epochs=1, schedule="constant", warmup=0,
        weight_decay=0.0, learning_rate=1e-3,
    )  # fmt: skip
    losses = [p.loss for p in steps if p.stage == "training"]
    assert len(losses) > 2
    start = load_encoder(run("start", epochs=1, learning_rate=1e-12)).network.state_dict()
    moved = load_encoder(folder).network.state_dict()
    # The first step of Adam moves every weight by the learning rate, or not at all.
    for key, value in moved.items():
        assert float((value - start[key]).abs().max()) == pytest.approx(1e-3, rel=0.02), key
    card = json.loads((folder / "config.json").read_text())["card"]
    assert card["left_out_of_each_epoch"] == card["training_places"] % 64


def test_every_epoch_is_scored_on_the_tasks_that_were_named(run):
    epochs = []
    RESULTS.clear()
    folder = run(on_epoch=epochs.append, probes=("country",))
    assert [list(p.probes) for p in epochs] == [["country"]] * 3
    encoder = load_encoder(folder)
    assert epochs[-1].probes == probe_scores(encoder, ["country"])
    gc.collect()
    assert len(RESULTS) == 0
    assert encoder.weights_hash
    assert 0.0 < epochs[-1].probes["country"] < 1.0
    card = json.loads((folder / "config.json").read_text())["card"]
    assert card["validation"]["probes"] == epochs[-1].probes
    # What is scored decides nothing: a run goes on with other tasks, or without any.
    steps = []
    run(on_progress=steps.append, probes=())
    assert [p.probes for p in steps[-1].past] == [p.probes for p in epochs]
    with pytest.raises(ValueError, match="probes are tasks among .*biome.*; got 'biom'"):
        run(probes=("biom",))


@pytest.mark.parametrize(
    "changes",
    [
        {"ocean_fraction": 0.25, "regression_weight": 1.0, "position_weight": 1.0, "head": "mlp"},
        {
            "contrastive_weight": 0.0,
            "regression_weight": 1.0,
            "augmentations": 2,
            "jitter_m": 9000.0,
        },
        {"gradient_clip": 0.5, "degree_damping": 0.5, "first_layer_rate": 0.1},
        {"precision": "bfloat16"},
        {"contrastive_weight": 0.0, "regression_weight": 1.0, "position_weight": 1.0},
    ],
    ids=["all-losses", "regression", "clipped", "bfloat16", "image-and-position"],
)
def test_recipes_learn(run, changes):
    losses = []
    run(on_epoch=lambda p: losses.append(p.loss), epochs=6, learning_rate=3e-3, **changes)
    assert losses[-1] < losses[0]


def test_a_finished_run_is_returned_at_once_and_fresh_starts_over(run):
    folder = run()
    before, steps = weights(folder), []
    run(on_progress=steps.append)
    assert [p for p in steps if p.stage == "training"] == []
    assert_same_weights(folder, run("other"))
    run(fresh=True, seed=1)
    assert not torch.equal(weights(folder)["last_layer.weight"], before["last_layer.weight"])


def test_fresh_keeps_what_there_is_until_training_begins(run, tmp_path):
    folder = run()
    before, cancel = weights(folder), Event()
    state = (folder / "training.pt").read_bytes()
    with pytest.raises(FileNotFoundError, match="No imagery"):
        pretrain(PretrainConfig(), data=tmp_path / "typo", output=folder, fresh=True, **SMALL)
    with pytest.raises(ValueError, match="have no 299 eigenfunctions"):
        run(fresh=True, position_weight=1.0, position_eigenfunctions=299, embed_dim=512)
    cancel.set()
    with pytest.raises(Cancelled):
        # Other features than those in the cache: it stops before the first of them.
        run(fresh=True, places=290, cancel=cancel)
    assert (folder / "training.pt").read_bytes() == state
    assert torch.equal(weights(folder)["last_layer.weight"], before["last_layer.weight"])


def test_a_run_from_before_a_setting_was_known_goes_on(run):
    folder = run()
    state = torch.load(folder / "training.pt", weights_only=True)
    del state["config"]["imagery"]["night_lights"]
    torch.save(state, folder / "training.pt")
    before = weights(folder)
    assert_same_weights(run(), folder)
    assert torch.equal(weights(folder)["last_layer.weight"], before["last_layer.weight"])


def test_a_run_with_the_former_names_of_settings_goes_on_and_is_exported(run, tmp_path):
    folder = run(epochs=1, ocean_fraction=0.25, regression_weight=1.0)
    state = torch.load(folder / "training.pt", weights_only=True)
    former = {
        "antarctica_fraction": "antarctica",
        "ocean_fraction": "elsewhere",
        "augmentations": "copies",
        "license": "licence",
    }
    for part in (state["config"]["imagery"], state["config"]["features"], state["description"]):
        for name in former.keys() & part.keys():
            part[former[name]] = part.pop(name)
    torch.save(state, folder / "training.pt")
    assert load_encoder(export_run(folder, tmp_path / "exported")).embed_dim == 16
    continued = run(epochs=1, ocean_fraction=0.25, regression_weight=1.0)
    assert_same_weights(continued, folder)
    with pytest.raises(ValueError, match="holds a run with ocean_fraction=0.25; got 0.0"):
        run(epochs=1, regression_weight=1.0)


def test_a_canceled_run_goes_on_and_ends_in_the_same_weights(run):
    whole = run("whole", head="mlp", augmentations=2, jitter_m=1000.0)
    cancel = Event()

    def stop_in_the_second_epoch(progress):
        if progress.stage == "training" and progress.done == 6:
            cancel.set()

    same = {"head": "mlp", "augmentations": 2, "jitter_m": 1000.0}
    folder = run(on_progress=stop_in_the_second_epoch, cancel=cancel, **same)
    assert json.loads((folder / "config.json").read_text())["card"]["epochs"] == 1
    assert_same_weights(run(**same), whole)


def test_what_is_fitted_comes_from_the_first_process_before_it_is_used(run, monkeypatch):
    events = []
    load = PlacePairs.load

    def broadcast(self, tensors):
        fitted = any(len(tensor.shape) == 2 and tensor.any() for tensor in tensors)
        events.append("broadcast, fitted" if fitted else "broadcast, empty")

    monkeypatch.setattr(Processes, "broadcast", broadcast)
    monkeypatch.setattr(PlacePairs, "load", lambda *a: events.append("load") or load(*a))
    run(epochs=1)
    assert events == ["broadcast, fitted", "load"]


def test_probes_of_an_epoch_leave_the_gpu_alone(run, monkeypatch):
    devices = []
    train = epoch_probes.train_probe
    monkeypatch.setattr(
        epoch_probes, "train_probe", lambda *a, **k: devices.append(k["device"]) or train(*a, **k)
    )
    run(epochs=1, probes=("country",))
    assert devices == ["cpu"]


def test_an_interrupt_keeps_the_last_checkpoint(run):
    def interrupt(progress):
        if progress.stage == "training" and progress.done == 6:
            raise KeyboardInterrupt

    folder = run(on_progress=interrupt)
    assert load_encoder(folder).embed_dim == 16
    assert_same_weights(run(), run("whole"))


def test_cancelling_before_the_first_checkpoint_says_so(run):
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled):
        run(cancel=cancel)


def test_an_encoder_older_than_the_checkpoint_is_written_again(run):
    folder = run()
    wanted = weights(folder)
    (folder / "encoder.safetensors").unlink()
    run()
    assert torch.equal(weights(folder)["last_layer.weight"], wanted["last_layer.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"legendre_polys": 6}, "legendre_polys=5; got 6"),
        ({"epochs": 4}, "epochs=3; got 4"),
        ({"places": 310}, "places=300; got 310"),
    ],
)
def test_other_settings_are_refused_in_a_folder_that_holds_a_run(run, changes, message):
    run()
    with pytest.raises(ValueError, match=f"holds a run with {message}"):
        run(**changes)


def test_a_checkpoint_of_other_shapes_is_refused(run):
    folder = run()
    state = torch.load(folder / "training.pt", weights_only=True)
    state["model"]["head.weight"] = torch.zeros(2, 2)
    torch.save(state, folder / "training.pt")
    with pytest.raises(ValueError, match="weights of other shapes"):
        run()


def test_a_checkpoint_on_other_images_is_refused_before_their_features(run):
    folder, stages = run(), []
    state = torch.load(folder / "training.pt", weights_only=True)
    state["description"]["files"] = {}
    torch.save(state, folder / "training.pt")
    with pytest.raises(ValueError, match="a run on other images"):
        run(on_progress=lambda progress: stages.append(progress.stage))
    assert stages == ["imagery"]


def test_a_checkpoint_that_lacks_a_part_is_refused(run):
    folder = run()
    state = torch.load(folder / "training.pt", weights_only=True)
    del state["config"]
    torch.save(state, folder / "training.pt")
    with pytest.raises(ValueError, match="'config' is missing"):
        run()


def test_weights_that_are_no_numbers_do_not_replace_a_checkpoint(run, monkeypatch):
    cancel = Event()

    def stop_in_the_second_epoch(progress):
        if progress.stage == "training" and progress.done == 6:
            cancel.set()

    folder = run(on_progress=stop_in_the_second_epoch, cancel=cancel)
    state = (folder / "training.pt").read_bytes()
    validate = Loop.validate

    def after_the_last_step_went_wrong(loop):
        loop.model.network.last_layer.weight.data[:] = torch.nan
        return validate(loop)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "validate", after_the_last_step_went_wrong)
        with pytest.raises(ValueError, match="nan on unseen images; lower learning_rate"):
            run()
    assert (folder / "training.pt").read_bytes() == state
    assert_same_weights(run(), run("whole"))


def test_a_damaged_checkpoint_is_refused(run):
    folder = run()
    path = folder / "training.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="truncated or is not a PyTorch file"):
        run()


def test_a_checkpoint_of_another_format_is_refused(run):
    folder = run()
    torch.save({"format_version": 99}, folder / "training.pt")
    with pytest.raises(ValueError, match="format_version 99"):
        run()


def test_cuda_that_is_not_there_is_one_sentence(run):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="'cuda' is not available on this machine"):
        run(device="cuda")


def test_missing_imagery_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="No imagery at .*Name its folder as data"):
        pretrain("laptop", data=tmp_path / "none", output=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="No imagery was named"):
        pretrain("satclip-l10", output=tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"batch_size": 290}, ValueError, "usable images are too few"),
        ({"epoch": 2}, TypeError, "Did you mean 'epochs'"),
        ({"image_encoder": "resnet34"}, ValueError, "image_encoder must be one of .*resnet18"),
        ({"position_near_km": 0.0}, ValueError, "position_near_km must be at least 1"),
        ({"position_zonal_share": 1.5}, ValueError, "lies between 0 and 1; got 1.5"),
        (
            {"position_near_share": 1.0},
            ValueError,
            "position_near_share is a fraction and must be below 1",
        ),
        ({"image_share": 0}, ValueError, "image_share must be at least"),
        ({"image_share": 1.0}, ValueError, "image_share is a fraction and must be below 1"),
        (
            {"position_weight": 1.0, "position_eigenfunctions": 300, "embed_dim": 400},
            ValueError,
            "260 training places have no 300 eigenfunctions",
        ),
        ({"learning_rate": 1e30}, ValueError, "the loss is .*lower learning_rate"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(run, changes, error, message):
    with pytest.raises(error, match=message):
        run(**changes)


def test_statistics_of_surroundings_need_a_map(run, tmp_path, monkeypatch):
    from training.imagery import geotiffs

    monkeypatch.setattr(geotiffs.GeoTiffs, "__init__", lambda *a, **k: None)
    with pytest.raises(ValueError, match="needs the source 'blue-marble'"):
        run(source="geotiffs")


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoint_before(earth, cache, tmp_path):
    code = textwrap.dedent(
        f"""
        import resource
        from training.pretraining.config import PretrainConfig
        from training.pretrain import pretrain
        def fill(progress):
            if progress.epoch == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            pretrain(PretrainConfig(), data={str(earth)!r}, output={str(tmp_path / "run")!r},
                     cache={str(cache)!r}, on_epoch=fill, **{SMALL!r})
        except OSError as error:
            print(error)
        """
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "training.pt" in found.stdout
    assert "Run the same call again: it goes on from there." in found.stdout
    assert not list((tmp_path / "run").glob(".*.part"))
    folder = pretrain(PretrainConfig(), data=earth, output=tmp_path / "run", cache=cache, **SMALL)
    whole = pretrain(PretrainConfig(), data=earth, output=tmp_path / "whole", cache=cache, **SMALL)
    assert_same_weights(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in the write", "before the rename"])
def test_killed_in_the_middle_of_a_checkpoint_it_ends_in_the_same_weights(
    earth, cache, tmp_path, moment
):
    code = textwrap.dedent(
        f"""
        import os, pathlib, signal, sys
        import torch
        from training.pretraining.config import PretrainConfig
        from training.pretrain import pretrain
        count = 0
        def kill_in_the_second(stream=None):
            global count
            count += 1
            if count == 2:
                if stream is not None:
                    stream.write(b"half a checkpoint")
                    stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        if {moment!r} == "before the rename":
            rename = pathlib.Path.replace
            def replace(part, path):
                if path.name == "training.pt":
                    kill_in_the_second()
                return rename(part, path)
            pathlib.Path.replace = replace
        else:
            save = torch.save
            def half(state, stream):
                kill_in_the_second(stream)
                save(state, stream)
            torch.save = half
        pretrain(PretrainConfig(), data={str(earth)!r}, output={str(tmp_path / "run")!r},
                 cache={str(cache)!r}, **{SMALL!r})
        """
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    stored = torch.load(tmp_path / "run" / "training.pt", weights_only=True)
    assert stored["epoch"] == 1
    again, whole = (
        pretrain(PretrainConfig(), data=earth, output=tmp_path / name, cache=cache, **SMALL)
        for name in ("run", "whole")
    )
    assert_same_weights(again, whole)


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(earth, cache, tmp_path):
    losses = []
    changes = SMALL | {
        "regression_weight": 1.0,
        "position_weight": 1.0,
        "ocean_fraction": 0.25,
        "head": "mlp",
    }
    one = pretrain(
        PretrainConfig(),
        data=earth,
        output=tmp_path / "one",
        cache=cache,
        on_progress=lambda p: losses.append(p.loss),
        **changes,
    )
    script = tmp_path / "two.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from training.pretraining.config import PretrainConfig
            from training.pretrain import pretrain
            pretrain(PretrainConfig(), data={str(earth)!r}, output={str(tmp_path / "two")!r},
                     cache={str(cache)!r}, on_progress=lambda p: print("loss", p.loss),
                     **{changes!r})
            """
        )
    )
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            str(script),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    two = [float(line.split()[1]) for line in found.stdout.splitlines() if line[:4] == "loss"]
    curve = [value for value in losses if value == value]
    two = [value for value in two if value == value]
    assert len(two) == len(curve) > 5
    # float32 sums in another order, through a dozen steps of Adam.
    np.testing.assert_allclose(two, curve, rtol=1e-4)
    a, b = weights(one), weights(tmp_path / "two")
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_where_one_of_two_processes_fails_both_end_with_the_sentence(tmp_path):
    found = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", "-m", "training.pretrain", "laptop", "--set=batch_size=64"),
            *(f"--data={tmp_path / 'typo'}", f"--output={tmp_path / 'run'}"),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 1
    assert "error: No imagery at" in found.stderr
    assert "the first process stopped: No imagery at" in found.stderr
    assert found.stderr.count("Traceback") == 1  # torchrun's own


def test_the_command_line_trains_and_reports(earth, cache, tmp_path, capsys):
    settings = [f"--set={key}={list(v) if isinstance(v, tuple) else v}" for key, v in SMALL.items()]
    arguments = ["laptop", f"--data={earth}", f"--output={tmp_path / 'run'}", f"--cache={cache}"]
    assert main([*arguments, *settings, "--set=augmentations=1", "--set=tensorboard=true"]) == 0
    printed = capsys.readouterr().out
    assert "recall@1" in printed
    assert "load_encoder" in printed
    assert list((tmp_path / "run" / "events").iterdir())


def test_the_command_line_refuses_unknown_keys_with_the_close_match(capsys):
    assert main(["laptop", "--set", "epoch=2"]) == 1
    assert "Did you mean 'epochs'" in capsys.readouterr().err


def test_an_interrupt_without_words_is_one_sentence(earth, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.pretrain.pretrain", interrupted)
    assert main(["laptop", f"--data={earth}", f"--output={tmp_path}"]) == 130
    assert capsys.readouterr().err.strip() == "stopped. What was computed is kept."


def test_the_learning_rate_rises_and_falls_to_zero():
    training = PretrainConfig().training
    rates = [rate_at(step, 100, training) for step in range(100)]
    assert rates[0] == pytest.approx(training.learning_rate / 5)
    assert max(rates) == rates[5] == training.learning_rate
    assert all(a <= b for a, b in pairwise(rates[:6]))
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert 0 < rates[-1] < 1e-3 * training.learning_rate
    assert rate_at(0, 1, training) == training.learning_rate


def test_the_precision_of_this_processor_is_one_of_two():
    assert fast_precision(torch.device("cpu")) in ("float32", "bfloat16")


def test_importing_the_package_does_not_import_training():
    code = "import sys, satclip_explore; print('training' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
    started = time.perf_counter()
    assert callable(__import__("satclip_explore").pretrain)
    assert time.perf_counter() - started < 60
