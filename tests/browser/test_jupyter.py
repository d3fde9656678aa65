"""JupyterLab in a real browser, offline: notebooks answer clicks, and the app opens through it."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench_notebook import COLORS, notebook

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("http://localhost:", "ws://localhost:", "data:", "blob:")
START_SECONDS = 120
PATIENCE = 150_000
"""Milliseconds: a whole notebook runs before some of the things that are waited for."""

CURVES = "svg[aria-label='losses while training']"
POINTS = f"""() => [...document.querySelectorAll("{CURVES} polyline")]
    .map(line => line.getAttribute('points').length).reduce((a, b) => a + b, 0)"""

pytestmark = [pytest.mark.ui, pytest.mark.slow]


@dataclass
class Lab:
    """A page in JupyterLab, and what it asked for from elsewhere."""

    page: object
    address: str
    outside: list[str] = field(default_factory=list)

    def run_all(self, name):
        page = self.page
        self.open(name)
        self.wait_for_kernel(f"{name}.ipynb")
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()

    def open(self, name):
        """Open a notebook, or open it anew: its kernel, if there is one, goes on."""
        self.page.goto(f"{self.address}/lab/tree/{name}.ipynb?reset")
        self.page.locator(".jp-Notebook-cell").first.wait_for()

    def wait_for_kernel(self, path):
        """Cells that are run before the page is connected to a kernel are passed over."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            sessions = self.page.request.get(f"{self.address}/api/sessions").json()
            kernels = [session["kernel"] for session in sessions if session["path"] == path]
            if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
                self.page.wait_for_timeout(1_000)
                return
            self.page.wait_for_timeout(300)
        pytest.fail("no kernel started")

    def leave_berlin(self):
        """Click on the map until another place is selected: what is being drawn takes no clicks."""
        from playwright.sync_api import TimeoutError

        chart = self.page.locator(".leaflet-container").first
        berlin = self.page.locator(".where", has_text="52.50° N").first
        for _ in range(10):
            chart.scroll_into_view_if_needed()
            box = chart.bounding_box()
            # Near the middle: a high map shows more than the Earth.
            chart.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.6})
            with suppress(TimeoutError):
                return berlin.wait_for(state="detached", timeout=PATIENCE / 10)
        pytest.fail("the selection did not move")

    def shut_down(self):
        """End every kernel, so that the next notebook's is the only one."""
        for kernel in self.page.request.get(f"{self.address}/api/kernels").json():
            self.page.request.delete(f"{self.address}/api/kernels/{kernel['id']}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on a copy of the notebooks, with settings of its own."""
    folder = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "notebooks" / "dashboard.ipynb").write_text(
        notebook("import satclip_explore as sx", "sx.explore()")
    )
    # JupyterLab draws only the cells in view, unless told otherwise.
    tracker = folder / "settings" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    log = folder / "log.txt"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ServerApp.port_retries=0", "--IdentityProvider.token=",
               # Kernels are ended by a plain request.
               "--ServerApp.disable_check_xsrf=True",
               f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    address = f"http://localhost:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline or process.poll() is not None:
                    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # it waits for kernels that are busy
            process.kill()
            process.wait(30)


@pytest.fixture
def lab(window, server):
    page = window.new_page()
    page.set_viewport_size({"width": 1300, "height": 1500})
    page.set_default_timeout(PATIENCE)
    seen = Lab(page, server)

    # Routing each request through the test would turn the browser's cache off; the resolver knows
    # no other machine.
    def note(request):
        if not request.url.startswith(LOCAL):
            seen.outside.append(request.url)

    page.on("request", note)
    yield seen
    seen.shut_down()
    page.close()


def test_a_click_on_the_map_of_notebook_03_changes_the_neighbors_below(lab):
    lab.run_all("03_places_like_this_one")
    table = lab.page.locator("table.n").first
    table.wait_for()
    before = table.inner_text()
    assert "Place" in before
    chart = lab.page.locator(".leaflet-container").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box["height"] > 200
    chart.click(position={"x": box["width"] * 0.55, "y": box["height"] * 0.75})
    # The text is in a shadow root, which only locators see into.
    first = before.splitlines()[1].split("\t")[1]
    lab.page.locator("table.n", has_text=first).first.wait_for(state="detached")
    assert lab.page.locator("table.n").first.inner_text() != before
    assert lab.outside == []


def test_the_curve_of_notebook_04_moves_and_the_stop_button_keeps_what_was_learned(lab):
    lab.run_all("04_few_shot")
    page = lab.page
    page.locator(f"{CURVES} polyline").first.wait_for(state="attached")
    before = page.evaluate(POINTS)
    page.wait_for_function(f"before => ({POINTS})() > before", arg=before)
    # The encoder comes after the quick baselines; from then on there is something to keep.
    page.locator(f"{CURVES} + div span", has_text="mini-l40").first.wait_for(state="attached")
    page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    verdict = page.locator(".jp-OutputArea li")
    verdict.filter(has_text="tested on").first.wait_for()
    assert verdict.filter(has_text="mini-l40 is").count() > 0
    # It was to come after the encoder.
    assert verdict.filter(has_text="harmonics-l10").count() == 0
    assert page.get_by_text("KeyboardInterrupt").count() == 0
    assert lab.outside == []


def test_the_app_opens_through_the_proxy_of_jupyter(lab):
    lab.page.goto(f"{lab.address}/panel/app")
    lab.page.locator(".where", has_text="52.50° N, 13.40° E").first.wait_for()
    lab.leave_berlin()
    assert lab.outside == []


DRAWN = f"() => (() => {{ {COLORS} }})() > 200"
"""JavaScript: a figure on the screen is in many colors."""


def whiteness(picture):
    """Share of a screenshot that is nearly white: text, but no ground of a figure."""
    with Image.open(io.BytesIO(picture)) as image:
        return float((np.asarray(image.convert("L")) > 240).mean())


def test_the_dashboard_draws_in_a_cell_and_again_when_the_page_is_loaded_anew(lab):
    page = lab.page
    for light in ("true", "false"):
        lab.run_all("dashboard")
        page.wait_for_function(DRAWN)
        page.locator(".where", has_text="52.50° N, 13.40° E").first.wait_for()
        page.locator(".satclip-card").nth(4).wait_for()
        # What JupyterLab's switch of its theme does to the page.
        page.evaluate(f"document.body.dataset.jpThemeLight = '{light}'")
        page.wait_for_timeout(500)
        white = whiteness(page.locator(".satclip").first.screenshot())
        assert white > 0.2 if light == "true" else white < 0.05
    page.locator("table.n").first.wait_for()
    lab.leave_berlin()
    for tab, words in (("Compare", "Side by side"), ("Probe", "What does it know?"),
                       ("Label", "Label by clicking"), ("Train", "Train your own")):  # fmt: skip
        page.locator(".widget-toggle-button", has_text=tab).first.click()
        page.locator(".title", has_text=words).first.wait_for()
    assert lab.outside == []
