"""The benchmark of the embedded encoders: what is finished is not computed again."""

from __future__ import annotations

import pytest

from benchmarks import embedded_encoders
from benchmarks.embedded_encoders import best_probe, card_section, compute, markdown
from satclip_explore.encoders.registry import load_encoder


@pytest.fixture
def small(monkeypatch):
    """Two splits, one probe, 500 stations."""
    monkeypatch.setattr(embedded_encoders, "SETTINGS", {"500 labels": 2})
    monkeypatch.setattr(embedded_encoders, "MODELS", ("linear",))

    def call(names, out):
        encoders = {name: load_encoder(name) for name in names}
        return compute(encoders, ["air_temperature"], ["500 labels"], out)

    return call


def test_only_an_encoder_that_is_new_is_scored(small, tmp_path, monkeypatch):
    first = small(["xyz"], tmp_path)
    scored = []
    train = embedded_encoders.train_probe

    def counted(task, *, encoder, encoders, **settings):
        scored.append([one.name for one in (encoder, *encoders)])
        return train(task, encoder=encoder, encoders=encoders, **settings)

    monkeypatch.setattr(embedded_encoders, "train_probe", counted)
    both = small(["xyz", "wrap"], tmp_path)
    assert scored == [["wrap"], ["wrap"]]
    assert best_probe(both, "xyz") == best_probe(first, "xyz")
    assert set(both["encoder"]) == {"xyz", "wrap", "nearest"}
    # Each encoder and split once, whatever was written twice.
    assert len(both) == 6


def test_other_weights_are_scored_again(small, tmp_path, monkeypatch):
    small(["xyz"], tmp_path)
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text().replace('"weights": "', '"weights": "other'))
    assert len(small(["xyz"], tmp_path)) == 4


def test_tables_show_the_best_probe_of_each(small, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_encoders, "OWN", ("xyz",))
    results = small(["xyz", "wrap"], tmp_path)
    table = markdown(results, ["xyz", "wrap", "nearest"])
    score, shown = best_probe(results, "wrap")
    assert f"| wrap | {shown} |".replace("**", "") in table.replace("**", "")
    assert shown.startswith(f"{score:.3f} ± ")
    card = card_section(results, "xyz")
    assert f"| {shown} on wrap |" in card
    # Mean squared errors: the larger one is below.
    behind = best_probe(results, "xyz")[0] > score
    where = "air temperature (500 labels)" if behind else "nowhere"
    assert f"Below the best of the others: {where}." in card
    other = "nowhere" if behind else "air temperature (500 labels)"
    monkeypatch.setattr(embedded_encoders, "OWN", ("wrap",))
    assert f"Below the best of the others: {other}." in card_section(results, "wrap")
