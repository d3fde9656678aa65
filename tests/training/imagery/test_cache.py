"""The feature cache: complete, resumable, verified."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from threading import Event

import numpy as np
import pytest

from satclip_explore.progress import Cancelled
from training.imagery.cache import cached_features


class Counting:
    """Six blocks of known numbers; counts how often each is computed."""

    def __init__(self, places=12, *, stop_at=None):
        self.lonlat = np.stack([np.linspace(-180, 170, places), np.linspace(-90, 90, places)], 1)
        self.on_land = np.ones(places, dtype=bool)
        self.augmentations, self.dim, self.blocks, self.groups = 2, 4, 6, (3, 1)
        self.computed = []
        self.stop_at = stop_at

    def describe(self):
        return {"image_encoder": "counting"}

    def index(self, block):
        version, part = divmod(block, 3)
        return version, slice(part * 4, (part + 1) * 4), slice(None)

    def compute(self, block):
        if block == self.stop_at:
            raise KeyboardInterrupt
        self.computed.append(block)
        values = np.full((4, 4), float(block), dtype=np.float32)
        values[:, 1] = np.arange(4)
        return values


def test_fills_the_table_once_and_opens_it_again(tmp_path):
    first, second = Counting(), Counting()
    a = cached_features(first, {"images": "x"}, tmp_path)
    b = cached_features(second, {"images": "x"}, tmp_path)
    assert first.computed == [0, 1, 2, 3, 4, 5]
    assert second.computed == []
    assert a.table.shape == (2, 12, 4)
    assert a.table.dtype == np.float16
    np.testing.assert_array_equal(a.table[1, 4], [4, 0, 4, 4])
    np.testing.assert_array_equal(a.table, b.table)
    assert not b.table.flags.writeable
    assert b.groups == (3, 1)
    assert b.description["shape"] == [2, 12, 4]


def test_a_cache_of_an_earlier_version_is_found_under_todays_names(tmp_path):
    former = {"antarctica": 0.03, "copies": 2, "elsewhere": 0.1, "licence": "MIT"}
    now = {"antarctica_fraction": 0.03, "augmentations": 2, "ocean_fraction": 0.1, "license": "MIT"}
    cached_features(Counting(), former, tmp_path)
    again = Counting()
    assert cached_features(again, now, tmp_path).description.items() >= now.items()
    assert again.computed == []
    other = Counting()
    cached_features(other, now | {"augmentations": 3}, tmp_path)
    assert len(other.computed) == 6


def test_places_that_differ_in_their_last_digits_share_a_cache(tmp_path):
    second, third = Counting(), Counting()
    cached_features(Counting(), {}, tmp_path)
    second.lonlat = second.lonlat + 1e-12
    cached_features(second, {}, tmp_path)
    third.lonlat = third.lonlat + 1e-4
    cached_features(third, {}, tmp_path)
    assert (second.computed, third.computed) == ([], [0, 1, 2, 3, 4, 5])


def test_an_interrupted_cache_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cached_features(Counting(stop_at=4), {}, tmp_path)
    rest = Counting()
    features = cached_features(rest, {}, tmp_path)
    assert rest.computed == [4, 5]
    np.testing.assert_array_equal(features.table[0, 0], [0, 0, 0, 0])


def test_cancelling_stops_between_blocks_and_keeps_them(tmp_path):
    cancel, seen = Event(), []

    def watch(progress):
        seen.append(progress)
        if progress.done == 3:
            cancel.set()

    with pytest.raises(Cancelled, match="after 3 of 6 blocks"):
        cached_features(Counting(), {}, tmp_path, on_progress=watch, cancel=cancel)
    rest = Counting()
    cached_features(rest, {}, tmp_path)
    assert rest.computed == [3, 4, 5]


def test_progress_has_rate_and_time_left(tmp_path):
    seen = []
    cached_features(Counting(), {}, tmp_path, on_progress=seen.append)
    assert [p.done for p in seen] == list(range(7))
    assert all(p.total == 6 for p in seen)
    assert math.isnan(seen[0].seconds_left)
    assert seen[0].places_per_second == 0
    assert all(p.seconds_left >= 0 and p.places_per_second > 0 for p in seen[1:])
    assert seen[-1].seconds_left == 0


def test_changed_bytes_are_noticed_and_computed_again(tmp_path):
    features = cached_features(Counting(), {}, tmp_path)
    path = next(tmp_path.glob("*/features.npy"))
    table = np.load(path, mmap_mode="r+")
    table[1, 0, 2] = 99.0
    table.flush()
    again = Counting()
    repaired = cached_features(again, {}, tmp_path)
    assert again.computed == [3]
    assert repaired.table[1, 0, 2] == 3.0
    del features


def test_a_torn_or_foreign_line_in_the_journal_is_ignored(tmp_path):
    cached_features(Counting(), {}, tmp_path)
    journal = next(tmp_path.glob("*/blocks.jsonl"))
    lines = journal.read_text().splitlines()
    journal.write_text(
        "\n".join([*lines[:5], '{"block": 99, "checksum": "x"}', "[1]", lines[5][:20]])
    )
    again = Counting()
    cached_features(again, {}, tmp_path)
    assert again.computed == [5]


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_a_damaged_table_is_made_again(tmp_path, content):
    cached_features(Counting(), {}, tmp_path)
    next(tmp_path.glob("*/features.npy")).write_bytes(content)
    again = Counting()
    features = cached_features(again, {}, tmp_path)
    assert again.computed == [0, 1, 2, 3, 4, 5]
    assert features.table[1, 11, 0] == 5


def test_other_images_or_places_get_their_own_table(tmp_path):
    cached_features(Counting(), {"images": "x"}, tmp_path)
    for extractor, description in ((Counting(), {"images": "y"}), (Counting(11), {"images": "x"})):
        extractor.index = lambda block: (block // 3, slice(0, 4), slice(None))
        cached_features(extractor, description, tmp_path)
        assert len(extractor.computed) == 6
    assert len(list(tmp_path.iterdir())) == 3


def test_unusable_images_are_marked(tmp_path):
    extractor = Counting()
    compute = extractor.compute

    def damaged(block):
        values = compute(block)
        if block == 3:
            values[1] = np.nan
        if block == 2:
            values[0, 0] = 1e6  # beyond float16
        return values

    extractor.compute = damaged
    with np.errstate(over="ignore"):
        features = cached_features(extractor, {}, tmp_path)
    assert np.flatnonzero(~features.usable).tolist() == [1, 8]


def test_no_usable_image_is_an_error(tmp_path):
    extractor = Counting()
    extractor.compute = lambda block: np.full((4, 4), np.nan, np.float32)
    with pytest.raises(ValueError, match="none of the 12 images could be used"):
        cached_features(extractor, {}, tmp_path)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    # A limit on file sizes fails where a full disk does, and needs no disk.
    code = textwrap.dedent(
        """
        import resource, sys
        from tests.training.imagery.test_cache import Counting
        from training.imagery.cache import cached_features
        folder = sys.argv[1]
        cached_features(Counting(), {"n": 1}, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            cached_features(Counting(12000), {"n": 2}, folder)
        except OSError as error:
            print(error)
        again = Counting()
        cached_features(again, {"n": 1}, folder)
        print(len(again.computed))
        """
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "features.npy (192,000 bytes): File too large" in found.stdout
    assert "Free some space, or choose another disk." in found.stdout
    assert found.stdout.strip().endswith("\n0")


def test_the_description_is_readable_beside_the_table(tmp_path):
    cached_features(Counting(), {"images": "x"}, tmp_path)
    stored = json.loads(next(tmp_path.glob("*/description.json")).read_text())
    assert stored["images"] == "x"


def test_where_space_cannot_be_reserved_zeros_are_written(tmp_path, monkeypatch):
    monkeypatch.delattr("os.posix_fallocate")
    monkeypatch.setattr("training.imagery.cache.ZEROS", 1000)
    features = cached_features(Counting(6000), {}, tmp_path)
    path = next(tmp_path.glob("*/features.npy"))
    assert features.table.shape == (2, 6000, 4)
    # Not sparse: a full disk is noticed before anything is computed.
    assert path.stat().st_blocks * 512 >= path.stat().st_size - 4096
    assert features.table[1, 8, 0] == 5
