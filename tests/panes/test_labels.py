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
    pane.selection.select(36.8, -1.3)
    pane.label_here()
    assert pane.labels == [(36.8, -1.3, "desert")]


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


def test_a_class_is_renamed_with_its_labels_and_keeps_its_color(pane):
    pane.label(-60.0, -5.0)
    color = pane._colors["forest"]
    pane.new_name = "  <i>wood</i> "
    assert pane.classes == ["<i>wood</i>", "desert"]
    assert pane.labels == [(-60.0, -5.0, "<i>wood</i>")]
    assert pane.current == "<i>wood</i>"
    assert pane._colors["<i>wood</i>"] == color
    assert "<i>wood" not in pane.counts()
    pane.undo()
    assert pane.classes == ["forest", "desert"]
    assert pane.labels == [(-60.0, -5.0, "forest")]
    assert pane._colors["forest"] == color


@pytest.mark.parametrize(
    ("name", "message"),
    [("desert", "already"), ("x" * 41, "40 characters"), ("a\nb", "printable")],
)
def test_a_bad_new_name_changes_nothing(pane, name, message):
    pane.new_name = name
    assert message in pane.message
    assert pane.classes == ["forest", "desert"]
    pane.new_name = "forest"
    assert pane.classes == ["forest", "desert"]
    pane.new_name = "wood"
    assert pane.message == ""


def test_a_removed_class_takes_its_labels_along_and_the_others_keep_their_colors(pane):
    pane.label(-60.0, -5.0)
    pane.current = "desert"
    pane.label(15.0, 25.0)
    color = pane._colors["desert"]
    pane.current = "forest"
    pane.remove_class()
    assert pane.classes == ["desert"]
    assert pane.labels == [(15.0, 25.0, "desert")]
    assert pane.current == "desert"
    assert pane._colors == {"desert": color}
    assert not pane.image().dimension_values("A").any()
    pane.remove_class()
    assert "last class" in pane.message
    pane.new_class = "ice"
    assert pane._colors["ice"] != color
    pane.undo()
    pane.undo()
    assert pane.classes == ["forest", "desert"]
    assert len(pane.labels) == 2


def test_undo_takes_back_clearing_and_loading_and_then_does_nothing(pane):
    pane.label(1.0, 2.0)
    pane.load(b"lon,lat,label\n3,4,ice\n")
    assert pane.labels == [(3.0, 4.0, "ice")]
    pane.clear()
    assert pane.labels == []
    for expected in ([(3.0, 4.0, "ice")], [(1.0, 2.0, "forest")], [], []):
        pane.undo()
        assert pane.labels == expected


def test_the_figure_is_drawn_once_for_each_label(pane, monkeypatch):
    drawn = []
    image, points = pane.image, pane.points
    monkeypatch.setattr(pane, "image", lambda **k: drawn.append("image") or image(**k))
    monkeypatch.setattr(pane, "points", lambda **k: drawn.append("points") or points(**k))
    model = pane.__panel__().get_root()
    assert model is not None
    drawn.clear()
    pane.label(-60.0, -5.0)
    assert sorted(drawn) == ["image", "points"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"lon,lat,label\n",
        b"lon,lat,label\n1,2,\n",
        b"lon,lat,label\n1,,a\n",
        b"lon,lat,label\n1,north,a\n",
        b"lon,lat,label\n500000,4649776,a\n",
        b"lon,lat,label\n1,2," + b"a" * 1_000_000,
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


def test_labels_outlive_a_session_in_the_browser(tiny_encoder):
    before = LabelsPane(tiny_encoder)
    before.new_class = "lake"
    before.label(1.0, 2.0)
    after = LabelsPane(tiny_encoder)
    after.restore(before.kept())
    assert after.labels == [(1.0, 2.0, "lake")]
    assert after.classes == before.classes
    assert "last visit" in after.message
    after.label(3.0, 4.0)
    after.restore(before.kept())
    assert len(after.labels) == 2, "what is on the page is not replaced"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"classes": ["a"], "labels": [[1, 200, "a"]]}',
        '{"classes": ["a"], "labels": [[1]]}', '{"classes": [""], "labels": []}',
        '{"classes": ["a"], "labels": [[1, 2, "b"]]}', '{"classes": "a", "labels": {}}',
    ],
)  # fmt: skip
def test_what_a_browser_kept_and_is_no_good_is_passed_over(tiny_encoder, text):
    pane = LabelsPane(tiny_encoder)
    pane.restore(text)
    assert pane.labels == []
    assert pane.classes == ["forest", "desert"]


def test_the_pane_says_what_to_do_until_two_classes_have_labels(tiny_encoder):
    pane = LabelsPane(tiny_encoder)
    assert "Choose forest above, then click on the map" in pane.counts()
    pane.label(0.0, 0.0)
    assert "Choose desert above" in pane.counts()
    pane.remove_class()
    pane.current = "desert"
    pane.label(10.0, 20.0)
    assert "Add a second class below" in pane.counts()
    pane.new_class = "ice"
    pane.label(0.0, 80.0)
    assert "above" not in pane.counts()
