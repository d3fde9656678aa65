"""What a run says on a terminal and in a file."""

from __future__ import annotations

import errno
import io
import json
import math

import pytest
import torch
from torch import nn

from satclip_explore.errors import Offer, RunConflictError, sentence
from training.pretraining import console as command_line
from training.pretraining.checkpoint import (
    FORMAT_VERSION,
    PARTS,
    STATE_FILE,
    check_description,
    check_settings,
    read_state,
)
from training.pretraining.config import PretrainConfig
from training.pretraining.console import Console, duration, line
from training.pretraining.loop import Loop
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


def loop_of(folder):
    """Return a loop as far as it must be to refuse a state or a loss."""
    loop = Loop.__new__(Loop)
    loop.config, loop.description, loop.folder = PretrainConfig(), {}, folder
    loop.model = nn.Linear(1, 1)
    return loop


def another_format(folder):
    torch.save({"format_version": 99}, folder / STATE_FILE)
    read_state(folder)


def a_part_is_missing(folder):
    torch.save({"format_version": FORMAT_VERSION}, folder / STATE_FILE)
    read_state(folder)


def another_setting(folder):
    config = PretrainConfig()
    check_settings(config.to_dict(), config.replace(seed=1).to_dict(), folder)


def other_images(folder):
    check_description({"files": 1}, {"files": 2}, folder)


def other_shapes(folder):
    parts = dict.fromkeys(PARTS, 0) | {"config": PretrainConfig().to_dict()}
    parts |= {"description": {}, "model": {"weight": torch.zeros(2, 2)}}
    torch.save({"format_version": FORMAT_VERSION, **parts}, folder / STATE_FILE)
    loop_of(folder)._resume()


def a_loss_that_is_no_number(folder):
    loop_of(folder)._check_finite(math.nan)


@pytest.mark.parametrize(
    ("refuse", "problem"),
    [
        (another_format, "has format_version 99; this version reads"),
        (a_part_is_missing, "is not the state of a run: 'config' is missing."),
        (another_setting, "holds a run with seed=0; got 1."),
        (other_images, "holds a run on other images or features than these."),
        (other_shapes, "has weights of other shapes than these settings make."),
        (a_loss_that_is_no_number, "the loss is nan on unseen images; lower learning_rate"),
    ],
)
def test_who_may_start_over_is_told_so_in_the_words_of_the_front_end(tmp_path, refuse, problem):
    pane = pytest.importorskip("satclip_explore.panes.pretrain.pane")
    with pytest.raises(RunConflictError) as caught:
        refuse(tmp_path)
    ends = {
        str(caught.value): "Pass fresh=True to start over, or another output folder.",
        sentence(caught.value, command_line.OFFERS): (
            "Pass --fresh to start over, or another --output FOLDER."
        ),
        sentence(caught.value, pane.OFFERS): "Tick “Start over” to train anew.",
    }
    assert sentence(caught.value) == str(caught.value)
    assert len(ends) == 3
    for said, end in ends.items():
        assert problem in said
        assert said.endswith(f". {end}")


def test_every_front_end_has_words_for_every_offer():
    pane = pytest.importorskip("satclip_explore.panes.pretrain.pane")
    assert set(command_line.OFFERS) == set(pane.OFFERS) == set(Offer)


def test_errors_of_the_system_lose_their_number():
    assert sentence(OSError(errno.ENOSPC, "no room here")) == "no room here"
    assert sentence(FileNotFoundError("no such thing")) == "no such thing"
    with pytest.raises(FileNotFoundError) as caught:
        open("/nowhere/at/all").close()
    assert "/nowhere/at/all" in sentence(caught.value)
