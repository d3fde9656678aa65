"""A served app, and a page that blocks and records every request that leaves the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("http://localhost:", "http://127.0.0.1:", "ws://localhost:", "data:", "blob:")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
             ]  # fmt: skip
START_SECONDS = 120


@dataclass
class Visit:
    """An open page with what it asked for and complained about."""

    page: object
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def place(self) -> str:
        """The coordinates that the embedding pane shows."""
        return self.page.locator(".where").first.inner_text()

    def wait_for_place(self, words: str, timeout: float = 60_000) -> None:
        self.page.locator(".where", has_text=words).first.wait_for(timeout=timeout)


def _missing(reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"the browser tests must run in CI, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
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


@contextmanager
def served(log: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the page around a small encoder, at an address nobody has asked for yet."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    script = Path(__file__).with_name("small_app.py")
    command = [sys.executable, "-m", "panel", "serve", str(script), "--port", str(port), *flags]
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
        server.wait(20)


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Where the page around a small encoder is served."""
    with served(tmp_path_factory.mktemp("server") / "log.txt") as (url, _):
        urllib.request.urlopen(url, timeout=START_SECONDS).close()
        yield url


@pytest.fixture
def server_of_eight_threads(tmp_path):
    """Where the page is served with `--num-threads 8`, before its first visitor, and by whom."""
    with served(tmp_path / "log.txt", "--num-threads", "8") as found:
        yield found


@pytest.fixture(scope="session")
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
        page.set_default_timeout(60_000)
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
