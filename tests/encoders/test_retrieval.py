"""RANGE and RANGE+: the published formulas spelled out, on a database made here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from satclip_explore.encoders import retrieval
from satclip_explore.encoders.checkpoint import export_lightning, read_encoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import equal_area_sample

IMAGES, FEATURES = 50, 12


@pytest.fixture
def satclip(tmp_path, tiny_encoder):
    return export_lightning(tiny_encoder, tmp_path / "satclip.ckpt")


@pytest.fixture
def database():
    rng = np.random.default_rng(0)
    return {
        "locs": equal_area_sample(IMAGES, seed=1),
        "satclip_embeddings": rng.normal(size=(IMAGES, 8)) * 5,
        "image_embeddings": rng.normal(size=(IMAGES, FEATURES)),
    }


@pytest.fixture
def path(tmp_path, database):
    np.savez(tmp_path / "range_db_med.npz", **database)
    return tmp_path / "range_db_med.npz"


def softmax(values):
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def on_the_sphere(places):
    return np.array(
        [
            [math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)]
            for a, b in np.radians(places).tolist()
        ]
    )


def by_hand(database, satclip, places, beta=None):
    """What resembles in SatCLIP's space, what is near, and SatCLIP's own direction."""
    own = unit(read_encoder(satclip, dtype="float64").embed(places))
    stored = {key: values.astype(np.float32).astype(float) for key, values in database.items()}
    cosine = own @ unit(stored["satclip_embeddings"]).T
    seen = softmax((15 if beta is None else 12) * cosine) @ stored["image_embeddings"]
    if beta is not None:
        nearness = on_the_sphere(places) @ on_the_sphere(stored["locs"]).T
        near = softmax(40 * nearness) @ stored["image_embeddings"]
        seen = (1 - beta) * near + beta * seen
    return np.hstack([seen, own])


@pytest.mark.parametrize(("name", "beta"), [("range", None), ("range-plus", 0.5)])
def test_the_published_embeddings(path, database, satclip, edges, error_of, name, beta):
    encoder = load_encoder(name, path=path, satclip=satclip, dtype="float64")
    expected = by_hand(database, satclip, edges, beta)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)
    assert (encoder.name, encoder.family) == (name, "range")
    assert encoder.embed_dim == FEATURES + 8
    quick = load_encoder(name, path=path, satclip=satclip)
    assert 0 < error_of(quick.embed(edges), expected) < 1e-5
    assert quick.embed((13.4, 52.5)).shape == (1, FEATURES + 8)


def test_blocks_change_nothing(path, database, satclip, edges, monkeypatch):
    monkeypatch.setattr(retrieval, "ROWS_PER_BLOCK", 7)
    encoder = load_encoder(path, satclip=satclip, plus=True, beta=0.25, dtype="float64")
    expected = by_hand(database, satclip, edges, 0.25)
    np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-12)


def test_what_was_asked_is_in_the_hash(path, satclip):
    hashes = {
        load_encoder(path, satclip=satclip, **options).weights_hash
        for options in ({}, {"plus": True}, {"plus": True, "beta": 0.1})
    }
    assert len(hashes) == 3


def test_wishes_that_do_not_fit_get_one_sentence(path, satclip, tmp_path):
    with pytest.raises(ValueError, match="beta must lie in 0 … 1"):
        load_encoder("range-plus", path=path, satclip=satclip, beta=2)
    with pytest.raises(ValueError, match="beta belongs to RANGE"):
        load_encoder("range", path=path, satclip=satclip, beta=0.5)
    with pytest.raises(ValueError, match="embeddings of 8 numbers; random-l10 gives 256"):
        load_encoder("range", path=path, satclip="random-l10")
    with pytest.raises(FileNotFoundError, match="no file or folder at"):
        load_encoder("range", path=path, satclip=tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("locs"), "lacks 'locs'"),
        (lambda d: d.update(locs=d["locs"][:, :1]), r"locs in .* must have shape \(50, 2\)"),
        (lambda d: d.update(image_embeddings=d["image_embeddings"][1:]), r"shape \(50, D\)"),
        (lambda d: d.update(image_embeddings=np.zeros(IMAGES)), r"shape \(50, D\)"),
        (lambda d: d["satclip_embeddings"].__setitem__((3, 3), np.nan), "finite"),
        (lambda d: d.update(locs=d["locs"].astype(int)), "floating-point"),
        (lambda d: d.update(locs=np.array([[{}, {}]] * IMAGES)), "would run code"),
    ],
)
def test_another_database_gets_one_sentence(tmp_path, database, edit, message):
    edit(database)
    np.savez(tmp_path / "x.npz", **database)
    with pytest.raises(ValueError, match=message) as error:
        retrieval.read_database(tmp_path / "x.npz")
    assert "\n" not in str(error.value)


def test_a_damaged_or_missing_database_is_refused(tmp_path, path):
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="damaged"):
        retrieval.read_database(path)
    with pytest.raises(FileNotFoundError):
        retrieval.read_database(tmp_path / "none.npz")
