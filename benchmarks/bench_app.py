"""How long a reader waits: the served app in Chromium, medians.

Run ``python benchmarks/bench_app.py`` in the repository root. It starts the app, times the first
figure, clicks, zooms and labels inside the page, and prints a table beside the limits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 300
LIMITS = {
    "first figure after start": 15.0,
    "click to embedding, map": 0.3,
    "click to embedding, colors": 0.3,
    "zoom to coarse raster": 0.5,
    "zoom to fine raster": 2.0,
    "label to prediction raster": 0.3,
    "page switch, first time": 0.1,
    "page switch, again": 0.1,
}
"""Seconds, at most."""

PAGE = """
window.deep = (selector) => {
  const found = []
  const walk = node => {
    if (node.shadowRoot) walk(node.shadowRoot)
    for (const child of node.children ?? []) {
      if (child.matches(selector)) found.push(child)
      walk(child)
    }
  }
  walk(document.body)
  return found
}
window.rasters = () => [...Bokeh.documents[0].all_models]
  .filter(model => model.type === 'GlyphRenderer' && model.glyph.type === 'ImageRGBA')
  .map(model => model.data_source.data.image?.[0])
window.shown = () => deep('.where').map(node => node.innerText).join()
window.colors = () => Math.max(0, ...deep('canvas').filter(c => c.width > 400).map(c => {
  const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
  const seen = new Set()
  for (let i = 0; i < data.length; i += 388) {
    seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2])
  }
  return seen.size
}))
for (const kind of ['pointerup', 'wheel']) {
  addEventListener(kind, () => { window.acted = performance.now() }, true)
}
// Resolves with the seconds from the reader's act to each change of what `read` returns: when
// there were `least` of them, none came for `quiet` seconds and nothing is busy, or at the limit.
window.changes = (read, least, quiet, limit) => new Promise(resolve => {
  let last = read(), times = []
  const start = performance.now()
  const same = (a, b) => Array.isArray(a) ? a.length === b.length && a.every((v, i) => v === b[i])
    : a === b
  const look = () => {
    const now = performance.now(), value = read()
    if (!same(value, last)) { last = value; times.push((now - window.acted) / 1000) }
    const idle = times.length >= least && now - window.acted - 1000 * times.at(-1) > 1000 * quiet
    if ((idle && !deep('.busy').length) || now - start > 1000 * limit) resolve(times)
    else requestAnimationFrame(look)
  }
  look()
})
// Resolves with the seconds from a click on a page's name until another page is painted.
window.turn = label => new Promise(resolve => {
  const open = () => Bokeh.documents[0].get_model_by_name("pages").children.find(p => p.visible)
  const button = deep('button').find(button => button.textContent === label)
  const before = open(), start = performance.now()
  button.click()
  const look = () => requestAnimationFrame(() => {
    if (open() === before) look()
    else setTimeout(() => resolve((performance.now() - start) / 1000))
  })
  look()
})
"""
PAGES = ("Probe", "Evaluate", "Label", "Train", "Your data", "Compare", "Explore")


@contextmanager
def served() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the app; yield its address and its process."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "panel",
        "serve",
        "satclip_explore/app.py",
        "--port",
        str(port),
    ]
    deadline = time.perf_counter() + START_SECONDS
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        url = f"http://localhost:{port}/"
        while True:
            try:
                urllib.request.urlopen(url, timeout=START_SECONDS).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None or time.perf_counter() > deadline:
                    raise SystemExit("the app did not start; run it by hand to see why.") from None
                time.sleep(0.1)
        yield f"{url}app", server
    finally:
        server.terminate()
        server.wait(30)


def act(
    page: Any, read: str, do: Any, *, least: int = 1, quiet: float = 0.3, limit: float = 20.0
) -> list[float]:
    """Do something and return the seconds until each change of what `read` gives."""
    waiting = page.evaluate_handle(
        f"() => ({{promise: changes({read}, {least}, {quiet}, {limit})}})"
    )
    do()
    times = waiting.evaluate("held => held.promise")
    waiting.dispose()
    return [seconds for seconds in times if seconds > 0]


def turn_pages(page: Any) -> dict[str, list[float]]:
    """Open every page, then each once more."""
    found = {}
    for round_ in ("first time", "again"):
        times = []
        for name in PAGES:
            times.append(page.evaluate("name => turn(name)", name))
            page.get_by_text("Opening this page").locator("visible=true").wait_for(state="detached")
            page.wait_for_function("() => deep('.busy').length === 0")
        found[f"page switch, {round_}"] = times
    return found


def measure(page: Any, runs: int) -> dict[str, list[float]]:
    """Click, zoom and label `runs` times each."""
    found: dict[str, list[float]] = {name: [] for name in LIMITS}
    chart = page.locator(".leaflet-container").bounding_box()
    colors = page.locator("canvas").first.bounding_box()

    def click(box: dict[str, float], across: float, down: float) -> None:
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])

    for run in range(runs):
        across = 0.3 + 0.4 * run / runs
        for name, box in (("map", chart), ("colors", colors)):
            times = act(page, "shown", lambda box=box, across=across: click(box, across, 0.55))
            found[f"click to embedding, {name}"] += times[:1]
    for run in range(runs):
        page.mouse.move(colors["x"] + 0.52 * colors["width"], colors["y"] + 0.4 * colors["height"])
        amount = -240 if run % 6 < 3 else 240
        times = act(page, "rasters", lambda amount=amount: page.mouse.wheel(0, amount), least=2)
        if len(times) > 1:
            found["zoom to coarse raster"].append(times[0])
            found["zoom to fine raster"].append(times[-1])
    page.get_by_text("Label", exact=True).click()
    page.wait_for_timeout(500)
    page.wait_for_function("() => deep('.busy').length === 0", timeout=120_000)
    page.locator("canvas:visible").first.wait_for()
    globe = page.locator("canvas:visible").first.bounding_box()
    click(globe, 0.33, 0.53)
    page.get_by_role("combobox", name="A click labels").click()
    page.get_by_role("menuitem", name="desert").click()
    page.wait_for_timeout(500)
    for run in range(runs):
        times = act(page, "rasters", lambda run=run: click(globe, 0.5 + 0.3 * run / runs, 0.35))
        found["label to prediction raster"] += times[:1]
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="repetitions of each act")
    runs = parser.parse_args().runs
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("no Chromium found: apt-get install chromium.")
    began = time.perf_counter()
    with sync_playwright() as driver, served() as (url, server):
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(START_SECONDS * 1000)
        page.add_init_script(PAGE)
        page.goto(url, wait_until="commit")
        page.wait_for_function("() => document.body && colors() > 200")
        first = time.perf_counter() - began
        spent = sum(psutil.Process(server.pid).cpu_times()[:2])
        page.wait_for_function("() => deep('.where').length && !deep('.busy').length")
        page.wait_for_timeout(1000)
        found = measure(page, runs)
        found["first figure after start"] = [first]
        found |= turn_pages(page)
        browser.close()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load:.1f}; the server's processor time until the first "
          f"figure: {spent:.1f} s\n")  # fmt: skip
    print("| wait | median | slowest | runs | at most |\n|---|---|---|---|---|")
    for name, limit in LIMITS.items():
        times = found[name] or [float("nan")]
        print(f"| {name} | {statistics.median(times):.2f} s | {max(times):.2f} s "
              f"| {len(found[name])} | {limit:g} s |")  # fmt: skip


if __name__ == "__main__":
    main()
