"""The site that `make docs` builds, where a warning is a failure, asks nobody for anything."""

import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"'](?:https?:)?//", re.IGNORECASE
)


pytestmark = pytest.mark.site


@pytest.fixture
def site():
    """The folder that `make docs` fills just before it runs these tests."""
    folder = ROOT / "site" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail("there is no site at site/html: make docs")
    return folder


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assert not OUTSIDE.search(page.read_text(encoding="utf-8")), page.name


def test_every_notebook_and_every_public_name_has_a_page(site):
    import satclip_explore as sx

    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    reference = "".join(p.read_text(encoding="utf-8") for p in (site / "reference").glob("*.html"))
    for name in sx.__all__:
        if inspect.ismodule(getattr(sx, name)):
            continue
        home = getattr(sx, name).__module__
        assert f'id="{home}.{name}"' in reference, f"{home}.{name} is not in the reference"
