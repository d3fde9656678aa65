"""How long a reader waits in a notebook: `sx.explore()` in JupyterLab in Chromium, medians.

Run ``python benchmarks/bench_notebook.py`` in the repository root. For every run a fresh kernel is
started and two cells are run: ``import satclip_explore as sx``, then ``sx.explore()``. Timed is the
second, from the key that runs it to the first picture of the globe on the screen, in colors.
Nothing else of the package has been imported, computed or loaded into the page before; with
``--loaded`` the first cell loads the encoder too, as a reader does who has looked at it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
LIMIT = 5.0
"""Seconds, at most."""

COLORS = """
const found = []
const walk = node => {
  if (node.shadowRoot) walk(node.shadowRoot)
  for (const child of node.children ?? []) {
    if (child.matches('canvas')) found.push(child)
    walk(child)
  }
}
walk(document.body)
return Math.max(0, ...found.filter(c => c.width > 300 && c.checkVisibility()).map(c => {
  const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
  const seen = new Set()
  for (let i = 0; i < data.length; i += 388) {
    seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2])
  }
  return seen.size
}))
"""
"""JavaScript: how many colors the richest visible canvas shows."""


def notebook(*cells: str) -> str:
    """Write a notebook with code cells."""
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps(
        {
            "cells": [code | {"id": f"c{i}", "source": cell} for i, cell in enumerate(cells)],
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Start JupyterLab in a folder, with settings of its own; yield its address."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", "--ServerApp.disable_check_xsrf=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    own = {f"JUPYTER{name}_DIR": str(folder / f".{name}") for name in ("_CONFIG", "_RUNTIME")}
    own["JUPYTERLAB_SETTINGS_DIR"] = str(folder / ".SETTINGS")
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | own | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    address = f"http://localhost:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=START_SECONDS).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("JupyterLab did not start; run it by hand.") from None
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def wait_for_kernel(page: Any, address: str) -> str:
    """Wait until the page's kernel has nothing to do; return its id."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        answer = page.request.get(f"{address}/api/kernels")
        for kernel in answer.json() if answer.ok else []:
            if kernel["connections"] and kernel["execution_state"] == "idle":
                return str(kernel["id"])
        page.wait_for_timeout(200)
    raise SystemExit("no kernel started.")


def first_picture(browser: Any, address: str, name: str, shot: Path | None) -> float:
    """Run the cells of a notebook in a fresh kernel and page; return the seconds of the last."""
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    page = context.new_page()
    page.set_default_timeout(START_SECONDS * 1000)
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.locator(".jp-Notebook-cell").first.wait_for()
    kernel = wait_for_kernel(page, address)
    page.wait_for_timeout(2_000)
    page.locator(".jp-Notebook-cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_timeout(1_000)
    wait_for_kernel(page, address)
    page.wait_for_timeout(1_000)
    began = time.perf_counter()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"() => (() => {{ {COLORS} }})() > 200")
    seconds = time.perf_counter() - began
    if shot is not None:
        page.screenshot(path=shot)
        page.wait_for_timeout(6_000)
        page.screenshot(path=shot.with_stem(f"{shot.stem}-later"))
    page.request.delete(f"{address}/api/kernels/{kernel}")
    context.close()
    return seconds


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loaded", action="store_true", help="load the encoder in the first cell")
    parser.add_argument("--screenshot", type=Path, help="PNG of the first picture of the last run")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("no Chromium found: apt-get install chromium.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        first = "import satclip_explore as sx"
        first += "\nencoder = sx.load_encoder()" if options.loaded else ""
        source = notebook(first, "sx.explore(encoder)" if options.loaded else "sx.explore()")
        (Path(folder) / "explore.ipynb").write_text(source)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with lab(Path(folder)) as address:
            times = [
                first_picture(browser, address, "explore.ipynb",
                              options.screenshot if run == options.runs - 1 else None)
                for run in range(options.runs)
            ]  # fmt: skip
        browser.close()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load:.1f}\n")
    print("| wait | median | slowest | runs | at most |\n|---|---|---|---|---|")
    print(f"| explore() in a notebook to its first picture | {statistics.median(times):.2f} s "
          f"| {max(times):.2f} s | {len(times)} | {LIMIT:g} s |")  # fmt: skip


if __name__ == "__main__":
    main()
