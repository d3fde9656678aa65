"""The table of all encoders: who is in it, what is bold, what is left blank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.encoder_table import (
    PAGE,
    available,
    main,
    markdown,
    places_per_second,
    write_between,
)
from satclip_explore.encoders.registry import load_encoder


def test_the_best_is_bold_and_the_absent_share_a_row():
    facts = pd.DataFrame(
        {
            "numbers": [256, 256, 256, 3, 0],
            "coverage": ["global", "global", "global", "land", ""],
            "speed": [52_345.0, np.nan, np.nan, 19_876_543.0, np.nan],
            "biome": [0.8724, np.nan, np.nan, 0.5, 0.9],
            "elevation": [0.05, np.nan, np.nan, 1.25, 0.06],
        },
        index=["mine", "absent-a", "absent-b", "xyz", "nearest"],
    )
    lines = markdown(facts, {"biome": "accuracy", "elevation": "mse"}).splitlines()
    assert lines[0] == "| encoder | numbers | coverage | places/s | biome ↑ | elevation MSE ↓ |"
    assert lines[2:] == [
        "| mine | 256 | global | 52,000 | .872 | **.050** |",
        "| absent-a, absent-b | 256 | global | – | – | – |",
        "| xyz | 3 | land | 20,000,000 | .500 | 1.250 |",
        "| *nearest labeled place, no encoder* |  |  |  | **.900** | .060 |",
    ]


def test_encoders_are_found_by_the_name_of_their_published_file(tmp_path):
    (tmp_path / "below").mkdir()
    found = available(["xyz", "satclip-vit16-l40", "mini-l10"], tmp_path)
    assert list(found) == ["xyz", "mini-l10"]
    (tmp_path / "below" / "satclip-vit16-l40.ckpt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="satclip-vit16-l40.ckpt is truncated"):
        available(["satclip-vit16-l40"], tmp_path)


def test_speed_is_a_number_of_places():
    assert 1e4 < places_per_second(load_encoder("xyz"), repeats=1) < 1e10


def test_the_command_writes_the_table(tmp_path, capsys):
    arguments = ["--encoders", "xyz", "lonlat", "geoclip", "--tasks", "air_temperature",
                 "--model", "linear", "--seeds", "1", "--repeats", "1"]  # fmt: skip
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    text = (tmp_path / "encoders.md").read_text()
    assert text in capsys.readouterr().out
    assert text.count("\n| ") == 5
    assert "| geoclip | 512 | global | – | – |" in text


def test_the_page_keeps_what_stands_around_the_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n\n<!-- encoder table -->\nold\n<!-- /encoder table -->\n\nAfter.\n")
    write_between(page, "encoder table", "| new |\n")
    assert page.read_text() == (
        "Before.\n\n<!-- encoder table -->\n| new |\n<!-- /encoder table -->\n\nAfter.\n"
    )
    with pytest.raises(ValueError, match="must hold <!-- other -->"):
        write_between(page, "other", "")


def test_the_page_has_a_place_for_the_table():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert lines.index("<!-- encoder table -->") < lines.index("<!-- /encoder table -->")
