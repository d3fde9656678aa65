import gc
import threading

import numpy as np
import pytest
import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.neighbors import nearest_neighbors
from satclip_explore.panes import world
from satclip_explore.panes.globe import GlobePane
from satclip_explore.projection import Projection, fit_pca
from satclip_explore.store import RESULTS, Store, size_of


class Tilted(LocationEncoder):
    """Says something of its own for every tilt, and has no hash."""

    name, embed_dim = "tilted", 3

    def __init__(self, tilt):
        self.tilt = torch.tensor(tilt)

    def encode(self, lonlat):
        lon, lat = torch.deg2rad(lonlat).T
        parts = [torch.cos(lat) * torch.cos(lon + self.tilt), torch.sin(lat - self.tilt), lat * lon]
        return torch.stack(parts, dim=1).float()


def test_encoders_without_a_hash_loaded_in_turn_never_get_the_globe_of_another(monkeypatch):
    colors = Projection(np.zeros(3), np.eye(3), np.ones(3), -2.0 * np.ones(3), 2.0 * np.ones(3))
    monkeypatch.setattr(world, "WORLD_RESOLUTION", 10.0)
    monkeypatch.setattr(world, "projection_of", lambda *_: colors)
    right = 0
    for turn in range(150):
        # The one before is gone by now, and its address is free for this one.
        encoder = Tilted(0.3 * (turn % 3))
        globe = world.world_picture(encoder)
        expected = colors.colors(encoder.embed([(15.0, 55.0)]))[0]
        right += np.abs(globe.sel(lon=15, lat=55).to_numpy() - expected.astype(int)).max() <= 1
    assert right == 150


def test_results_of_an_object_go_with_it():
    store, encoder = Store(), Tilted(0.0)
    store.get(("globe", encoder), lambda: np.zeros(1000))
    assert (len(store), store.nbytes) == (1, 8000)
    del encoder
    gc.collect()
    assert (len(store), store.nbytes) == (0, 0)


def test_a_shared_result_does_not_keep_its_encoder():
    RESULTS.clear()
    encoder = Tilted(0.5)
    fit_pca(encoder)
    nearest_neighbors(encoder, (0.0, 0.0), 1)
    GlobePane(encoder, resolution=10.0).globe()
    assert len(RESULTS) == 4
    del encoder
    gc.collect()
    # The places of the atlas belong to no encoder.
    assert len(RESULTS) == 1


def test_what_a_result_depends_on_keeps_it_apart(tiny_encoder):
    store = Store()

    def answer(*key):
        return store.get(key, lambda: object())

    tiny_encoder.weights_hash = "abc"
    first = answer("globe", tiny_encoder, 1.0)
    assert answer("globe", tiny_encoder, 1.0) is first
    assert answer("globe", tiny_encoder, 2.0) is not first
    for name, value in (("name", "b"), ("dtype", torch.float64), ("weights_hash", "d"),
                        ("harmonics_calculation", "closed-form")):  # fmt: skip
        before = getattr(tiny_encoder, name)
        setattr(tiny_encoder, name, value)
        assert answer("globe", tiny_encoder, 1.0) is not first, name
        setattr(tiny_encoder, name, before)
    tiny_encoder.network.frequencies = (1.0, 1.0)
    assert answer("globe", tiny_encoder, 1.0) is not first
    places = np.zeros((3, 2))
    assert answer("at", places) is answer("at", places.copy())
    assert answer("at", places) is not answer("at", places + 1.0)


def test_the_least_recently_used_goes_first_and_bytes_are_bounded():
    store = Store(capacity=3000)
    for key in "abc":
        store.get((key,), lambda: bytes(900))
    store.get(("a",), pytest.fail)
    store.get(("d",), lambda: bytes(900))
    assert [store.peek((key,)) is not None for key in "abcd"] == [True, False, True, True]
    assert store.nbytes <= 3000
    assert len(store.get(("huge",), lambda: bytes(9000))) == 9000
    assert store.nbytes <= 3000
    assert store.peek(("huge",)) is None


def test_what_was_pushed_out_while_in_use_is_found_again():
    store = Store(capacity=1000)
    used = store.get(("a",), lambda: np.zeros(100))
    store.get(("b",), lambda: np.zeros(100))
    assert store.get(("a",), pytest.fail) is used
    del used
    assert store.peek(("a",)) is None


def test_concurrent_askers_of_one_key_compute_once():
    store, made, go = Store(), [], threading.Event()

    def make():
        go.wait(10)
        made.append(1)
        return "globe"

    found = []
    askers = [
        threading.Thread(target=lambda: found.append(store.get(("k",), make))) for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    go.set()
    for asker in askers:
        asker.join(10)
    assert found == ["globe"] * 8
    assert made == [1]


def test_who_waits_is_not_stopped_with_who_computes_and_may_leave():
    store, begun, end = Store(), threading.Event(), threading.Event()

    def stopped():
        begun.set()
        end.wait(10)
        raise RuntimeError("stopped")

    def first():
        with pytest.raises(RuntimeError, match="stopped"):
            store.get(("k",), stopped)

    def leave():
        raise KeyError("left")

    computing = threading.Thread(target=first)
    computing.start()
    begun.wait(10)
    with pytest.raises(KeyError, match="left"):
        store.get(("k",), pytest.fail, leave)
    waiting = []
    other = threading.Thread(target=lambda: waiting.append(store.get(("k",), lambda: "mine")))
    other.start()
    end.set()
    computing.join(10)
    other.join(10)
    assert waiting == ["mine"]


def test_sizes_count_arrays_tables_and_weights(tiny_encoder):
    weights = sum(weight.numel() * 4 for weight in tiny_encoder.network.parameters())
    assert size_of(np.zeros((10, 10))) == 800
    assert weights < size_of(tiny_encoder) < weights + 40_000
    shared = np.zeros(1000)
    assert size_of([shared, shared]) < 8200
