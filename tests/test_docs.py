"""The site builds from the repository alone, without a warning, and asks nobody for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"'](?:https?:)?//", re.IGNORECASE
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "--keep-going", "docs"]
    done = subprocess.run(
        [*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assert not OUTSIDE.search(page.read_text(encoding="utf-8")), page.name


@pytest.mark.slow
def test_every_notebook_and_every_public_name_has_a_page(site):
    import satclip_explore as sx

    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    reference = "".join(p.read_text(encoding="utf-8") for p in (site / "reference").glob("*.html"))
    for name in sx.__all__:
        home = getattr(sx, name).__module__
        assert f'id="{home}.{name}"' in reference, f"{home}.{name} is not in the reference"
