from __future__ import annotations

import numpy as np
import pytest

from satclip_explore.panes.labels import MAX_CLASSES, LabelsPane


@pytest.fixture
def pane(tiny_encoder) -> LabelsPane:
    pane = LabelsPane(tiny_encoder, resolution=10.0)
    pane.image()
    pane._background.wait(60)
    return pane


def test_the_raster_follows_every_label_from_two_on(pane):
    pane.label(-60.0, -5.0)
    assert not pane.image().dimension_values("A").any()
    pane.current = "desert"
    pane.label(15.0, 25.0)
    first = pane.image()
    assert first.dimension_values("A").any()
    assert pane.prediction().sel(lon=-60, lat=-5, method="nearest").item() == 0
    assert pane.prediction().sel(lon=15, lat=25, method="nearest").item() == 1
    pane.label(135.0, -25.0)
    second = pane.image()
    assert (first.dimension_values("A") != second.dimension_values("A")).any()
    pane.undo()
    np.testing.assert_array_equal(pane.image().dimension_values("A"), first.dimension_values("A"))
    pane.clear()
    assert pane.labels == []


def test_classes_are_added_chosen_and_escaped(pane):
    pane.new_class = "  <b>ice</b> "
    assert pane.current == "<b>ice</b>"
    assert "<b>ice" not in pane.counts()
    pane.new_class = "x" * 41
    assert "40 characters" in pane.message
    for i in range(MAX_CLASSES):
        pane.new_class = f"class {i}"
    assert len(pane.classes) == MAX_CLASSES
    assert "told apart" in pane.message


def test_labels_are_saved_and_loaded(pane):
    pane.label(-60.0, -5.0)
    pane.current = "desert"
    pane.label(15.0, 25.0)
    before = list(pane.labels)
    content = pane.table().to_csv(index=False).encode()
    pane.clear()
    pane.load(content)
    assert pane.labels == before
    assert pane.message == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"lon,lat\n1,2\n",
        b"lon,lat,label\n1,95,a\n",
        b"\xff\xfe\x00\x01",
        b"lon,lat,label\n" + b"".join(b"%d,0,a\n" % (i % 100) for i in range(501)),
        b"lon,lat,label\n" + b"".join(b"%d,0,class%d\n" % (i, i) for i in range(9)),
        b"a,b,label\n1,2,3\n",
    ],
)
def test_a_file_that_is_no_good_gives_a_sentence_and_keeps_the_labels(pane, content):
    pane.label(1.0, 2.0)
    pane.load(content)
    assert pane.message.startswith("The labels could not be read: ")
    assert pane.labels == [(1.0, 2.0, "forest")]
