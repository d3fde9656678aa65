"""Training from a page: imagery that is missing, a run that is watched, stopped, gone on with."""

from __future__ import annotations

import hashlib
import math
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import holoviews as hv
import numpy as np
import pytest

import training.pretraining.config
from satclip_explore import load_encoder
from satclip_explore.panes.pretrain import views as pretrain_views
from satclip_explore.panes.pretrain.imagery_choice import (
    BLUE_MARBLE,
    FOLDER,
    PICTURE,
    ImageryChoice,
)
from satclip_explore.panes.pretrain.pane import PretrainPane, finished_runs
from training.imagery import download
from training.pretraining.progress import TrainingProgress

ROOT = Path(__file__).resolve().parents[2]

SMALL = """
[imagery]
source = "blue-marble"
places = 900
validation_places = 60
[features]
scales_km = [200, 1200]
components = 6
[location]
legendre_polys = 5
hidden_dim = 32
embed_dim = 16
[training]
epochs = 3
batch_size = 64
precision = "float32"
device = "cpu"
"""


@pytest.fixture
def pane(tmp_path, monkeypatch):
    """A pane whose "laptop" trains in a second, on the picture in the package."""
    (tmp_path / "configs").mkdir()
    for name in ("laptop", "satclip-l10"):
        (tmp_path / "configs" / f"{name}.toml").write_text(SMALL)
    monkeypatch.setattr(training.pretraining.config, "CONFIG_FOLDER", tmp_path / "configs")
    found = []
    pane = PretrainPane(
        runs=tmp_path / "runs",
        imagery=ImageryChoice(tmp_path / "store", kind=PICTURE),
        on_encoder=found.append,
    )
    pane.found = found
    yield pane
    pane.stop()
    pane._background.wait(20)


def finish(pane):
    pane._background.wait(60)
    assert not pane.running


def test_a_run_is_shown_while_it_goes_and_its_encoder_offered(pane, tmp_path):
    words = []
    pane.param.watch(lambda event: words.append(event.new), "busy")
    pane.start()
    finish(pane)
    assert pane.message == ""
    assert words[0] == "starting …"
    for stage in ("opening the imagery …", "whitening the features …", "training"):
        assert stage in words
    steps = pane.progress.total
    assert max(step for step, _ in pane._points) <= steps
    assert f">{steps:,}</text>" in pane.loss()
    assert "<polyline" in pane.loss()
    assert [row[0] for row in pane._epochs] == [1, 2, 3]
    assert len(pane.recall()) == 6
    assert pane.image().dimension_values("R").any()
    assert pane.outcome.startswith("All 3 epochs are done. It finds")
    assert str(tmp_path / "runs" / pane.run_name()) in pane.outcome
    # The next session offers it.
    assert [*finished_runs(tmp_path / "runs")] == [pane.run_name()]
    assert "my-laptop-picture under Encoder" in pane.how_far()
    (folder,) = pane.found
    assert load_encoder(folder).name == "my-laptop-picture"
    assert pane.settings() == {}


def test_a_run_is_stopped_cleanly_and_gone_on_with(pane):
    pane.epochs = 100
    stop = pane.param.watch(lambda event: pane.stop() if len(event.new) == 2 else None, "_epochs")
    pane.start()
    finish(pane)
    pane.param.unwatch(stop)
    kept = pane._epochs[-1][0]
    assert 2 <= kept < 100
    assert pane.outcome.startswith(f"Stopped. Epoch {kept} of 100 is kept")
    before = load_encoder(pane.found[0]).embed([(13.4, 52.5)])
    shown = []
    pane.param.watch(lambda event: shown.append(len(event.new)), "_epochs")
    pane.start()
    while not any(n > kept for n in shown):
        assert pane.running
        time.sleep(0.05)
    pane.stop()
    finish(pane)
    # What was learned before is there at once, and the curve begins with it.
    assert shown[:2] == [0, kept]
    assert [row[0] for row in pane._epochs] == list(range(1, pane._epochs[-1][0] + 1))
    assert pane._points[0][0] < pane._points[-1][0]
    after = load_encoder(pane.found[1]).embed([(13.4, 52.5)])
    assert np.abs(after - before).max() > 1e-4


KILLED = """
import os, signal, sys
from pathlib import Path
import training.pretraining.config
from satclip_explore.panes.pretrain.imagery_choice import PICTURE, ImageryChoice
from satclip_explore.panes.pretrain.pane import PretrainPane

folder = Path(sys.argv[1])
training.pretraining.config.CONFIG_FOLDER = folder / "configs"
pane = PretrainPane(runs=folder / "runs", imagery=ImageryChoice(folder / "store", kind=PICTURE))

def kill(event):
    if len(event.new) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

pane.param.watch(kill, "_epochs")
pane.start()
pane._background.wait()
"""
"""A server that dies as soon as a page shows its second epoch."""


@pytest.mark.slow
def test_a_server_killed_while_it_trained_goes_on_from_what_its_page_showed(pane, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    shown = []
    pane.param.watch(lambda event: shown.append(len(event.new)), "_epochs")
    pane.start()
    finish(pane)
    assert pane.message == ""
    assert shown == [2, 3]
    assert pane.outcome.startswith("All 3 epochs are done")


def test_a_second_start_does_not_disturb_a_run(pane):
    pane.start()
    job = pane._background._job
    pane.start()
    assert pane._background._job is job
    finish(pane)


def test_two_pages_cannot_train_in_one_folder(pane, tmp_path):
    other = PretrainPane(runs=tmp_path / "runs", imagery=pane.imagery)
    pane.epochs = other.epochs = 100
    pane.param.watch(lambda event: other.start() if len(event.new) == 1 else None, "_epochs")
    pane.start()
    while not other.message:
        assert pane.running
        time.sleep(0.05)
    assert "another run is writing to" in other.message
    assert not other.running
    pane.stop()
    finish(pane)


def test_starting_over_forgets_what_was_learned(pane):
    pane.start()
    finish(pane)
    pane.fresh = True
    shown = []
    pane.param.watch(lambda event: shown.append(len(event.new)), "_epochs")
    pane.start()
    finish(pane)
    assert shown == [0, 1, 2, 3]
    assert not pane.fresh


def test_other_settings_in_the_folder_say_what_to_tick(pane, tmp_path):
    pane.start()
    finish(pane)
    path = tmp_path / "configs" / "laptop.toml"
    path.write_text(path.read_text().replace("legendre_polys = 5", "legendre_polys = 6"))
    pane.start()
    finish(pane)
    assert pane.message.endswith("legendre_polys=5; got 6. Tick “Start over” to train anew.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_the_program_ends_the_run_and_is_raised(pane, monkeypatch):
    def fail(*arguments, **settings):
        raise RuntimeError("sizes differ")

    monkeypatch.setattr("satclip_explore.panes.pretrain.pane.pretrain", fail)
    pane.start()
    finish(pane)
    assert pane.message.endswith("an error in this program: sizes differ")


def test_sentinel_2_asks_for_a_folder(pane):
    pane.config = "satclip-l10"
    assert pane.imagery.kind == FOLDER
    assert "S2-100K" in pane.imagery.sentences()
    assert "78 GB" in pane.imagery.sentences()
    pane.start()
    finish(pane)
    assert pane.message == "Name the folder of the imagery on this machine first."
    pane.imagery.folder = "/nowhere/at/all"
    pane.start()
    finish(pane)
    assert "No imagery at /nowhere/at/all" in pane.message


def test_the_message_goes_when_other_imagery_is_chosen(pane):
    pane.message = "something"
    pane.imagery.kind = FOLDER
    assert pane.message == ""


class SlowHandler(SimpleHTTPRequestHandler):
    """Sends half of a file, then waits until it may go on."""

    go_on: threading.Event

    def log_message(self, *arguments):
        pass

    def copyfile(self, source, outputfile):
        content = source.read()
        try:
            outputfile.write(content[: len(content) // 2])
            outputfile.flush()
            self.go_on.wait(20)
            outputfile.write(content[len(content) // 2 :])
        except OSError:
            pass  # the pane hung up


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Thirteen files of 4 MB, on this machine; setting the event lets them through."""
    folder = tmp_path / "server"
    folder.mkdir()
    content = [bytes([month]) * 4_000_000 for month in range(1, 14)]
    names = [*(f"world.2004{month:02d}.jpg" for month in range(1, 13)), "BlackMarble_2016.png"]
    for name, data in zip(names, content, strict=True):
        (folder / name).write_bytes(data)
    SlowHandler.go_on = threading.Event()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(SlowHandler, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setattr(download, "COPY", f"{address}/world.2004{{month:02d}}.jpg")
    monkeypatch.setattr(download, "COPY_LIGHTS", f"{address}/{names[-1]}")
    sums = tuple(hashlib.sha256(data).hexdigest() for data in content)
    monkeypatch.setattr(download, "SHA256", sums)
    sizes = tuple(map(len, content))
    monkeypatch.setattr(download, "SIZES", sizes)
    monkeypatch.setattr("satclip_explore.panes.pretrain.imagery_choice.SIZES", sizes)
    yield SlowHandler.go_on
    SlowHandler.go_on.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_missing_blue_marble_is_offered_with_its_size_and_fetched_only_when_asked(
    pane, server, tmp_path
):
    choice = pane.imagery = ImageryChoice(tmp_path / "store")
    assert choice.kind == PICTURE, "what is at hand comes first"
    choice.kind = BLUE_MARBLE
    assert "52.0 MB to fetch" in choice.sentences()
    pane.start()
    finish(pane)
    assert "download it (52.0 MB), or train on the picture" in pane.message
    assert not (tmp_path / "store").exists()
    server.set()
    choice.fetch()
    choice._background.wait(20)
    assert (choice.left, choice.fetching, choice.message) == (0, False, "")
    assert "twelve months of 2004" in choice.sentences()
    assert choice.open(night_lights=True) == tmp_path / "store"


def test_settings_that_look_at_the_night_need_more_than_the_picture(pane, tmp_path):
    config = tmp_path / "configs" / "laptop.toml"
    config.write_text(SMALL.replace("places = 900", "places = 900\nnight_lights = true"))
    pane.start()
    finish(pane)
    assert "does not show the lights of the night" in pane.message
    assert "choose Blue Marble, or the settings laptop" in pane.message


def test_a_download_is_shown_canceled_and_gone_on_with(server, tmp_path, monkeypatch):
    monkeypatch.setattr("satclip_explore.panes.pretrain.imagery_choice.BATCH_SECONDS", 0.0)
    choice = ImageryChoice(tmp_path / "store", kind=BLUE_MARBLE)
    choice.fetch()
    wait_for(lambda: choice.left < 52_000_000)
    assert "of 52.0 MB fetched" in choice.sentences()
    assert choice.fetching
    choice.cancel()
    server.set()
    choice._background.wait(20)
    assert not choice.fetching
    assert choice.left == 52_000_000  # not even the first image had arrived
    assert "to fetch" in choice.sentences()
    assert list((tmp_path / "store").iterdir()) == []
    choice.fetch()
    choice._background.wait(20)
    assert choice.left == 0


def test_a_download_that_fails_is_one_sentence(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "COPY", "http://127.0.0.1:9/world.2004{month:02d}.jpg")
    choice = ImageryChoice(tmp_path / "store")
    choice.fetch()
    choice._background.wait(20)
    assert "could not be fetched" in choice.message
    assert "role='alert'" in choice.sentences()
    assert not choice.fetching


def test_words_from_outside_are_escaped(tmp_path):
    choice = ImageryChoice(tmp_path / "<b>", kind=BLUE_MARBLE)
    assert "&lt;b&gt;" in choice.sentences()
    choice.message = "<script>"
    assert "<script>" not in choice.sentences()
    assert "<script>" not in pretrain_views.how_far(None, "<script>")


def test_how_far_a_run_is_in_words():
    features = TrainingProgress("features", 3, 13, epoch=0, epochs=2, seconds_left=100.0)
    assert "block 3 of 13 · about 2 min left" in pretrain_views.how_far(features, "")
    first = TrainingProgress("training", 1, 20, epoch=0, epochs=2, places_per_second=1234.5)
    assert "epoch 1 of 2 · step 1 of 20 · 1,234 places per second" in pretrain_views.how_far(
        first, ""
    )
    assert "width:5.0%" in pretrain_views.how_far(first, "")
    opening = TrainingProgress("imagery", 0, 0, epoch=0, epochs=2)
    assert pretrain_views.how_far(opening, "") == ""
    assert "then press Start" in pretrain_views.how_far(None, "")
    assert pretrain_views.ending("a", Path("/runs/a"), 2, 2, math.nan) == (
        "All 2 epochs are done. Choose a under Encoder to look at it. It is saved in /runs/a."
    )


def test_empty_charts_can_be_drawn():
    for chart in (
        pretrain_views.recall_chart([], 3),
        pretrain_views.probe_chart([], ["biome"], 3),
        pretrain_views.probe_chart([], [], 3),
    ):
        hv.render(chart)


def test_the_pane_shows_itself(pane):
    assert pane.__panel__().objects
