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
from typing import Any, Literal, NamedTuple

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


def compare(page: Any) -> None:
    """Wait for what two encoders have in common."""
    page.get_by_text("shared neighbors").first.wait_for()


def probe(page: Any) -> None:
    """Train a probe."""
    page.get_by_role("button", name="Train", exact=True).last.click()
    page.locator(".busy:visible").first.wait_for()


def data(page: Any) -> None:
    """Read a table that the page offers."""
    page.get_by_role("button", name="weather stations").click()
    page.get_by_role("button", name="Probe it").wait_for()


DESK, PHONE = (1440, 900), (390, 844)


class Picture(NamedTuple):
    """What an address holds, what is done there, and on which screen."""

    query: str = ""
    act: Callable[[Any], None] | None = None
    screen: tuple[int, int] = DESK
    theme: Literal["dark", "light"] = "dark"
    width: int = 960


PICTURES = {
    "explore": Picture(width=1440),
    "explore-light": Picture(theme="light"),
    "explore-phone": Picture(screen=PHONE, width=390),
    "compare": Picture("?tab=compare", compare),
    "probe": Picture("?tab=probe&predict=biome&model=linear&runs=3", probe),
    "data": Picture("?tab=data", data),
}


def take(address: str, names: list[str]) -> None:
    """Write one WebP file for each name."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name in names:
            wanted = PICTURES[name]
            across, down = wanted.screen
            page = browser.new_page(
                viewport={"width": across, "height": down}, color_scheme=wanted.theme
            )
            page.set_default_timeout(PATIENCE)
            page.add_init_script("localStorage.setItem('satclip-explore-seen', '1')")  # no tour
            page.goto(f"{address}{wanted.query}", wait_until="domcontentloaded")
            page.get_by_role("button", name="Explore", exact=True).wait_for()
            settle(page)
            if wanted.act is not None:
                wanted.act(page)
                settle(page)
            with Image.open(io.BytesIO(page.screenshot())) as image:
                size = (wanted.width, wanted.width * image.height // image.width)
                image.convert("RGB").resize(size).save(
                    IMAGES / f"{name}.webp", quality=80, method=6
                )
            page.close()


def main() -> None:
    """Read the address from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://localhost:5006/app")
    parser.add_argument("--pages", nargs="+", default=[*PICTURES], choices=[*PICTURES])
    chosen = parser.parse_args()
    take(chosen.address, chosen.pages)


if __name__ == "__main__":
    main()
