"""Take the README's pictures of the pages from the running app, in Chromium.

Start the app (``make app``), then ``python -m scripts.page_pictures --address
http://localhost:5006/app``. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PATIENCE = 600_000
"""Milliseconds: on two cores a probe with all baselines takes a minute."""


def settle(page: Any) -> None:
    """Wait until no pane computes, and for the last drawing."""
    page.wait_for_timeout(3_000)
    while page.locator(".busy:visible").count():  # locators see into shadow roots
        page.wait_for_timeout(1_000)
    page.wait_for_timeout(3_000)


def explore(page: Any) -> None:
    """Show the first page as it opens."""


def compare(page: Any) -> None:
    """Compare the default encoder with what stands beside it."""
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("shared neighbors").first.wait_for()


def probe(page: Any) -> None:
    """Train a probe."""
    page.get_by_role("button", name="Probe").click()
    page.get_by_role("button", name="Train", exact=True).last.click()
    page.get_by_text("nearest").first.wait_for()


def label(page: Any) -> None:
    """Show the page for labels, before the first click."""
    page.get_by_role("button", name="Label").click()
    page.get_by_text("Label by clicking").first.wait_for()


def train(page: Any) -> None:
    """Pretrain on the embedded picture for a while."""
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("places per second").wait_for()
    page.wait_for_timeout(60_000)


PAGES: tuple[Callable[[Any], None], ...] = (explore, compare, probe, label, train)


def take(address: str, names: list[str]) -> None:
    """Write one WebP file for each page."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for go in PAGES:
            if go.__name__ not in names:
                continue
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE)
            # Components in which forests, steppes and mountains show.
            page.goto(f"{address}?components=7·8·9" if go is explore else address)
            page.locator(".where").first.wait_for()
            go(page)
            if go is not train:
                settle(page)
            with Image.open(io.BytesIO(page.screenshot())) as image:
                width = 1440 if go is explore else 960
                small = image.convert("RGB").resize((width, width * image.height // image.width))
                small.save(IMAGES / f"{go.__name__}.webp", quality=80, method=6)
            page.close()


def main() -> None:
    """Read the address from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://localhost:5006/app")
    names = [go.__name__ for go in PAGES]
    parser.add_argument("--pages", nargs="+", default=names, choices=names)
    chosen = parser.parse_args()
    take(chosen.address, chosen.pages)


if __name__ == "__main__":
    main()
