"""A served app, and a page that blocks and records every request that leaves the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("http://localhost:", "http://127.0.0.1:", "ws://localhost:", "data:", "blob:")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
             ]  # fmt: skip
START_SECONDS = 120
PATIENCE = 120_000
"""Milliseconds: other tests run beside these."""
SERIOUS = """async () => (await axe.run(document, {
  resultTypes: ["violations"], preload: false, runOnly: ["wcag2a", "wcag2aa"],
})).violations.filter(({impact}) => impact === "serious" || impact === "critical")
  .flatMap(({id, nodes}) => nodes.map(node =>
    `${id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`))"""


@dataclass
class Visit:
    """An open page with what it asked for and complained about."""

    page: object
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def place(self) -> str:
        """The coordinates that the embedding pane shows."""
        return self.page.locator(".where").first.inner_text()

    def wait_for_place(self, words: str, timeout: float = PATIENCE) -> None:
        self.page.locator(".where", has_text=words).first.wait_for(timeout=timeout)

    def steady_box(self, drawing) -> dict[str, float]:
        """Return where a drawing is once the page around it has come to rest."""
        drawing.wait_for()
        box, rested = None, 0
        while rested < 3:
            now = drawing.bounding_box()
            rested = rested + 1 if now is not None and now == box else 0
            box = now
            self.page.wait_for_timeout(200)
        return box


def _missing(reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"the browser tests must run in CI, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="package")
def browser():
    """Chromium. Playwright runs an event loop on this thread until the last test of this folder."""
    playwright = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
    if playwright is None:
        import playwright.sync_api as playwright
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        _missing("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def axe() -> str:
    """The source of axe-core, which finds what keyboards and screen readers stumble over."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.fixture(scope="package")
def accessible(axe):
    """Assert that axe-core finds nothing serious on a page: `accessible(page)`."""

    def check(page) -> None:
        page.evaluate(axe)
        for _ in range(10):  # colors fade when they change
            if not (complaints := page.evaluate(SERIOUS)):
                return
            page.wait_for_timeout(500)
        pytest.fail("\n".join(complaints))

    return check


@pytest.fixture(scope="package")
def app(tmp_path_factory) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the page around a small encoder with eight threads, at an address nobody asked for."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    script = Path(__file__).with_name("small_app.py")
    command = [sys.executable, "-m", "panel", "serve", str(script), "--port", str(port)]
    command += ["--num-threads", "8"]
    with log.open("w") as stream:
        server = subprocess.Popen(
            command, cwd=ROOT, stdout=stream, stderr=stream, env=os.environ | {"PYTHONPATH": "."}
        )
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            with suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
                break
            if time.monotonic() > deadline or server.poll() is not None:
                pytest.fail(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.3)
        yield f"http://localhost:{port}/small_app", server
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="package")
def address(app) -> str:
    """Where the page is served."""
    return app[0]


@pytest.fixture
def end_server(app):
    """End the server that all pages share: tests that ask for this come after all others."""

    def end() -> None:
        app[1].terminate()
        app[1].wait(60)

    return end


@pytest.fixture(scope="package")
def window(browser):
    """One profile for all pages: what they load is kept, where every context loads it anew."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def visit(window, address):
    """Open the app: `visit(query="", width=1440, height=900)` gives a `Visit`."""

    def open_page(query: str = "", width: int = 1440, height: int = 900) -> Visit:
        page = window.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        seen = Visit(page)

        def note(request):
            if not request.url.startswith(LOCAL):
                seen.outside.append(request.url)

        page.on("request", note)
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(address + query)
        page.locator(".where").first.wait_for()
        return seen

    yield open_page
    for page in window.pages:
        if page.url.startswith(address):
            page.evaluate("() => localStorage.clear()")  # as if nobody had been here
        page.close()
