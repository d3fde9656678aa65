"""What a run says on a terminal and in a file."""

from __future__ import annotations

import errno
import io
import json

import pytest

from training.pretraining.console import Console, as_typed, duration, line, reason
from training.pretraining.progress import TrainingProgress
from training.pretraining.retrieval import Retrieval


class Terminal(io.StringIO):
    def isatty(self):
        return True


def training(step, **changes):
    return TrainingProgress("training", step, 20, epoch=0, epochs=2, loss=1.5, **changes)


def test_progress_is_one_line_with_rate_and_time_left():
    said = line(training(3, places_per_second=12345.6, seconds_left=100.0))
    assert said == "training 3/20 · loss 1.500 · 12,346 places/s · 2 min left"
    features = TrainingProgress("features", 13, 13, epoch=0, epochs=2, seconds_left=0.0)
    assert line(features) == "features 13/13"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (6000, "1 h 40 min")],
)
def test_times_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words


def test_a_terminal_rewrites_its_line_and_keeps_epochs(monkeypatch):
    now = iter(range(0, 100, 10))
    monkeypatch.setattr("training.pretraining.console.time.monotonic", lambda: next(now))
    stream = Terminal()
    console = Console(stream)
    console.step(training(1, seconds_left=1000.0))
    console.step(training(2))
    found = Retrieval(40, 2.5, 0.25, 0.5, 0.75, 0.2, 0.3, 2.0, 3.0)
    console.epoch(training(10, validation=found, logit_scale=14.3, probes={"biome": 0.81}))
    console.clear()
    lines = stream.getvalue().split("\n")
    assert lines[0].count("\r") == 2
    shown = lines[0].split("\r")
    assert shown[1].startswith("training 2/20")
    # What was longer before is wiped out.
    assert len(shown[1]) >= len(shown[0])
    assert (
        "validation 2.500 · recall@1 0.250 of 40 · inverse temperature 14.3 · biome 0.810"
        in shown[2]
    )
    assert lines[1:] == [""]


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    now = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr("training.pretraining.console.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    console = Console(stream)
    for step in (1, 2, 3):
        console.step(training(step))
    for step in (12, 13):
        console.step(TrainingProgress("features", step, 13, epoch=0, epochs=2))
    said = [words.split(" · ")[0] for words in stream.getvalue().splitlines()]
    assert said == ["training 1/20", "training 3/20", "features 12/13", "features 13/13"]


def test_stages_without_steps_are_named():
    stream = io.StringIO()
    console = Console(stream)
    for stage in ("imagery", "preparing"):
        console.step(TrainingProgress(stage, 0, 0, epoch=0, epochs=2))
    for epoch in (1, 2):
        console.step(TrainingProgress("resumed", 0, 0, epoch=epoch, epochs=2))
    assert stream.getvalue().splitlines() == [
        "opening the imagery …",
        "whitening the features …",
        "goes on after epoch 1 of 2",
        "all 2 epochs were done before",
    ]


@pytest.mark.parametrize(("done", "lines"), [(1, 2), (3, 1)])
def test_the_end_says_whether_it_was_stopped(tmp_path, done, lines):
    described = {"family": "satclip", "format_version": 1, "card": {"epochs": done}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    stream = io.StringIO()
    Console(stream).end(tmp_path, 3)
    said = stream.getvalue().splitlines()
    assert len(said) == lines
    assert "load_encoder" in said[-1]
    assert ("epoch 1 of 3, and the same command goes on" in said[0]) == (done < 3)


def test_arguments_are_named_as_they_are_typed():
    assert as_typed("Pass fresh=True to start over, or another output folder.") == (
        "Pass --fresh to start over, or another --output FOLDER."
    )
    assert as_typed("Pass data=… with its folder, or download=True to fetch it.") == (
        "Pass --data FOLDER with its folder, or --download to fetch it."
    )


def test_errors_of_the_system_lose_their_number():
    assert reason(OSError(errno.ENOSPC, "no room here")) == "no room here"
    assert reason(FileNotFoundError("no such thing")) == "no such thing"
    with pytest.raises(FileNotFoundError) as caught:
        open("/nowhere/at/all").close()
    assert "/nowhere/at/all" in reason(caught.value)
