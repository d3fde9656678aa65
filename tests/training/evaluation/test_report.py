"""The report: one page that needs nothing else, and no word of a table becomes markup."""

import re

import numpy as np
import pandas as pd
import pytest

import satclip_explore as sx

NASTY = "<img src=x onerror=alert(1)>|$\\frac$"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(-60, 60, 60), "lat": rng.uniform(-50, 50, 60)})
    table[NASTY] = table["lat"] + rng.normal(size=60)
    ladder = sx.evaluate(
        table, NASTY, rungs=["random", 20.0], seeds=1, folds=3, encoders="xyz", models=["ridge"]
    )
    found = tmp_path_factory.mktemp("report")
    assert ladder.report(found) == found / "report.html"
    return found


def test_the_page_needs_nothing_else_and_runs_nothing(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)
    assert page.count('src="data:image/png;base64,') == 3
    for heading in (
        "Data",
        "Where it is wrong",
        "Where to trust it",
        "Intervals",
        "How to cite",
        "The code",
    ):
        assert f"<h2>{heading}" in page
    assert "sx.evaluate(" in page
    assert "Holm" in page
    assert "Geo-bias of " in page


def test_markdown_says_the_same_without_markup(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "<img" not in text.replace("`", "")
    assert "![scores against distance](ladder.png)" in text
    assert (folder / "ladder.png").stat().st_size > 1000
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert any(line.startswith("| random | ") for line in rows)
    assert len(pd.read_csv(folder / "scores.csv")) == 2 * 6 * 3
