"""An interrupt asks a run to stop; what was learned is kept."""

import math
import os
import signal
import threading
import time

import numpy as np
import pytest

from satclip_explore import load_encoder
from satclip_explore.geo import equal_area_sample
from satclip_explore.progress import Cancelled, Meter, Progress, interruptible, stop_if
from training.pretrain import pretrain
from training.pretraining.config import PretrainConfig
from training.probe import train_probe
from training.tasks.atlas import Task


@interruptible
def run(*, interrupts=0, cancel=None):
    for _ in range(interrupts):
        os.kill(os.getpid(), signal.SIGINT)
        # Two that arrive together are one.
        time.sleep(0.01)
    return cancel is not None and cancel.is_set()


def test_one_interrupt_sets_the_flag_and_the_call_returns():
    assert run(interrupts=1) is True
    assert run(interrupts=0) is False


def test_two_interrupts_end_the_call():
    with pytest.raises(KeyboardInterrupt):
        run(interrupts=2)


@pytest.mark.parametrize("interrupts", [0, 1])
def test_the_handler_is_put_back(interrupts):
    before = signal.getsignal(signal.SIGINT)
    run(interrupts=interrupts)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_flag_of_the_caller_still_counts():
    flag = threading.Event()
    flag.set()
    assert run(cancel=flag) is True


def test_other_threads_keep_their_flag_and_take_no_interrupts():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(run(cancel=None)))
    thread.start()
    thread.join()
    assert seen == [False]


def test_an_interrupt_within_a_call_inside_is_the_outer_ones():
    # A run scores its encoder with a probe after every epoch, and callbacks may do so too.
    @interruptible
    def outer(*, cancel=None):
        return run(interrupts=1), cancel.is_set()

    assert outer() == (False, True)


def test_an_interrupted_probe_keeps_what_it_learned():
    rng = np.random.default_rng(0)
    lonlat = equal_area_sample(400, seed=rng)
    task = Task("north", "classification", lonlat, (lonlat[:, 1] > 0).astype(int), ("s", "n"))
    seen = []

    def interrupt(losses):
        if losses.encoder == "xyz" and not seen:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(losses.encoder)

    result = train_probe(
        task, encoder="xyz", baselines=("nearest", "random-l10"), seeds=2, on_progress=interrupt
    )
    assert set(result.metrics.index) == {"nearest", "xyz"}
    assert result.facts["complete"] == "false"


@pytest.mark.parametrize("stage", ["features", "training"])
def test_an_interrupted_run_stops_after_its_step_and_keeps_what_it_has(earth, tmp_path, stage):
    settings = {
        "places": 300, "validation_places": 40, "batch_size": 64, "epochs": 3, "legendre_polys": 4,
        "hidden_dim": 16, "embed_dim": 8, "scales_km": (1000.0,), "components": 4,
        "precision": "float32", "device": "cpu",
    }  # fmt: skip
    seen = []

    def interrupt(progress):
        seen.append(progress.stage)
        if seen.count(stage) == 6 and progress.stage == stage:
            os.kill(os.getpid(), signal.SIGINT)

    def run(name, **more):
        folder = tmp_path / name
        pretrain(PretrainConfig(), data=earth, output=folder / "run", **settings, **more)
        return load_encoder(folder / "run").embed([(13.4, 52.5)])

    if stage == "features":
        with pytest.raises(Cancelled, match="stopped after 5 of 13 blocks"):
            run("a", on_progress=interrupt)
    else:
        run("a", on_progress=interrupt)
        # Four steps an epoch: the second was under way, and its sixth step came to its end.
        assert seen.count("training") == 6
    again = []
    np.testing.assert_array_equal(run("a", on_progress=again.append), run("b"))
    first = again[1] if stage == "features" else next(p for p in again if p.stage == "resumed")
    assert (first.stage, first.done) == (("features", 5) if stage == "features" else ("resumed", 4))


def test_a_meter_counts_the_rate_of_its_session_only(monkeypatch):
    now = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr("satclip_explore.progress.time.perf_counter", lambda: next(now))
    seen = []
    meter = Meter("features", seen.append, total=10, done=4, places_per_unit=50.0)
    meter(6)
    meter(10)
    assert seen[0] == Progress("features", 6, 10, places_per_second=50.0, seconds_left=4.0)
    assert seen[1] == Progress("features", 10, 10, places_per_second=75.0, seconds_left=0.0)
    assert seen[0].share == 0.6


def test_a_total_that_is_not_known_leaves_share_and_time_open():
    seen = []
    meter = Meter("download", seen.append)
    meter(1000)
    assert (seen[0].done, seen[0].total) == (1000, 0)
    assert math.isnan(seen[0].share)
    assert math.isnan(seen[0].seconds_left)


def test_work_stops_with_the_words_that_say_what_was_kept():
    flag = threading.Event()
    stop_if(None, "kept")
    stop_if(flag, "kept")
    flag.set()
    with pytest.raises(Cancelled, match="kept"):
        stop_if(flag, "kept")
