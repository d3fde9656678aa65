"""The list of encoders: a sentence each, and weights that come once that was agreed to."""

from __future__ import annotations

import pytest

from satclip_explore.encoders import weights
from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.download import DownloadError
from satclip_explore.explorer import Explorer
from satclip_explore.panes import encoders as encoders_pane
from satclip_explore.panes.encoders import EncodersPane
from satclip_explore.progress import Progress


@pytest.fixture
def chosen() -> list[str]:
    return []


@pytest.fixture
def pane(chosen) -> EncodersPane:
    pane = EncodersPane(chosen.append)
    pane.turn()
    return pane


def row_of(pane, name):
    return pane.table()["name"].tolist().index(name)


def test_every_encoder_has_a_sentence_and_those_at_hand_come_first(pane):
    markup = pane.markup()
    for name, card in CARDS.items():
        assert f"<td>{name}</td>" in markup
        assert card.training_data.removeprefix("none: ")[1:20] in markup
    assert markup.count("data-row=") == len(CARDS)
    assert markup.index(">mini-l40<") < markup.index(">satclip-vit16-l40<")
    assert "the tasks of its paper" in markup
    assert "A baseline to hold others against. An untrained SatCLIP, L = 40." in markup
    assert "Distilled from AlphaEarth" in markup
    pane.turn()
    assert pane.markup() == ""


def test_one_at_hand_is_taken_and_one_elsewhere_is_asked_about(pane, chosen, monkeypatch):
    def never(*_, **__):
        raise AssertionError("nothing is fetched before that was agreed to")

    monkeypatch.setattr(encoders_pane, "download_weights", never)
    pane.choose(row_of(pane, "satclip-vit16-l40"))
    assert "license: MIT" in pane.question()
    assert "huggingface.co/microsoft/SatCLIP-ViT16-L40" in pane.question()
    pane.stop()
    assert pane.question() == ""
    pane.fetch()
    pane.choose(row_of(pane, "csp-fmow"))
    assert "only be had by hand" in pane.message
    assert pane.asked == ""
    pane.choose(len(CARDS))
    assert chosen == []
    pane.choose(row_of(pane, "xyz"))
    assert chosen == ["xyz"]
    assert not pane.opened


def test_weights_come_with_progress_and_are_taken(pane, chosen, monkeypatch):
    said = []
    pane.param.watch(lambda event: said.append(event.new), "busy")

    def come(card, *, on_progress):
        on_progress(Progress("download", 2_000_000, 8_000_000))
        on_progress(Progress("download", 3_000_000))

    monkeypatch.setattr(encoders_pane, "download_weights", come)
    pane.choose(row_of(pane, "mind"))
    pane.fetch()
    pane._background.wait(10)
    assert chosen == ["mind"]
    assert said == [
        "fetching mind …",
        "fetching mind: 2.0 MB, 25% …",
        "fetching mind: 3.0 MB …",
        "",
    ]


@pytest.mark.parametrize("error", [DownloadError("no connection."), ImportError("pip install x")])
def test_what_cannot_be_fetched_is_said(pane, chosen, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(encoders_pane, "download_weights", fail)
    pane.choose(row_of(pane, "mind"))
    pane.fetch()
    pane._background.wait(10)
    assert pane.message == f"mind could not be fetched: {error}"
    assert (pane.busy, chosen) == ("", [])


def test_the_hub_tells_how_far_a_file_is(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    steps = []

    class Facts:
        commit_hash, etag = "0" * 40, "not a hash"

    def download(repo_id, filename, *, revision, local_dir, tqdm_class):
        bar = tqdm_class(total=10, desc=filename)
        bar.update(4)
        bar.update(6)
        (local_dir / filename).write_bytes(b"0123456789")

    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: Facts)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    card = CARDS["satclip-vit16-l40"]
    path = tmp_path / card.filename
    weights.fetch(card, path, lambda progress: steps.append((progress.done, progress.total)))
    assert steps == [(4, 10), (10, 10)]
    assert path.read_bytes() == b"0123456789"


def test_the_page_takes_an_encoder_of_the_list(tiny_encoder):
    explorer = Explorer(tiny_encoder)
    explorer.about._on_choose("harmonics-l5")
    assert explorer.encoder_name == "harmonics-l5"
    assert explorer.pca.encoder.name == "harmonics-l5"
    assert "harmonics-l5" in explorer.evaluate.names
