"""What an encoder adds to another: found where it was planted, and nothing where there is none."""

import numpy as np
import pandas as pd
import pytest

import satclip_explore as sx


@pytest.fixture(scope="module")
def table():
    """A target of longitude everywhere, and of what only `east` knows, east of Greenwich."""
    rng = np.random.default_rng(0)
    lonlat = rng.uniform(-60, 60, (240, 2))
    hidden = rng.normal(size=240) * (lonlat[:, 0] > 0)
    return pd.DataFrame({"lon": lonlat[:, 0], "lat": lonlat[:, 1], "hidden": hidden,
                         "value": lonlat[:, 0] / 60 + hidden})  # fmt: skip


@pytest.fixture(scope="module")
def east(table):
    return sx.from_table(table[["lon", "lat"]], table[["hidden"]].to_numpy(), name="east")


def test_what_is_added_is_found_and_mapped_where_it_is(table, east):
    found = sx.complementarity(table, "lonlat", east, target="value", rung="random", seeds=2)
    assert found.low > 0.1
    assert found.difference == pytest.approx(
        found.scores["both"].mean() - found.scores["first"].mean()
    )
    there = found.places["lon"] > 0
    assert found.places.loc[there, "gain"].mean() > 0.3
    assert abs(found.places.loc[~there, "gain"].mean()) < 0.1
    assert str(found).startswith("east adds to lonlat on value (random): R² 0.")
    assert "<img" in found._repr_html_()


def test_what_is_known_already_adds_nothing_sure(table, east):
    found = sx.complementarity(table, east, "xyz", target="hidden", rung="random", seeds=1)
    assert "xyz adds nothing sure to east" in str(found)
    assert abs(found.difference) < 0.02


def test_classes_count_wrong_names_and_one_encoder_is_refused(table, east):
    named = table.assign(side=np.where(table["value"] > 0.5, "high", "low"))
    found = sx.complementarity(named, "lonlat", east, target="side", rung="random", seeds=2)
    assert "accuracy" in str(found)
    assert found.places["error_first"].between(0, 1).all()
    with pytest.raises(ValueError, match="two different encoders; got 'lonlat' twice"):
        sx.complementarity(table, "lonlat", "lonlat", target="value")
