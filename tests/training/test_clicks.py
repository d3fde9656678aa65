import numpy as np
import pytest

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.export import csv_bytes
from satclip_explore.geo import Grid, equal_area_sample
from training.clicks import ClickClassifier, Labels


@pytest.fixture
def classifier():
    return ClickClassifier(load_encoder("xyz"), Grid.from_resolution(10.0))


def test_two_labels_draw_a_map(classifier):
    assert not classifier.ready
    classifier.add((0.0, 60.0), "north")
    assert not classifier.ready
    with pytest.raises(ValueError, match="two classes"):
        classifier.raster()
    classifier.add((0.0, -60.0), "south")
    raster = classifier.raster()
    assert raster.attrs["classes"] == ["north", "south"]
    # Two mirrored labels: the border is the equator, which lies between two rows of pixels.
    assert (raster.values[:9] == 0).all()
    assert (raster.values[9:] == 1).all()
    assert raster.lat[0] == 85.0
    assert (raster.chance >= 0.5).all()
    assert (raster.chance <= 1.0).all()


def test_every_click_can_change_the_map_and_be_undone(classifier):
    classifier.add((0.0, 60.0), "north")
    classifier.add((0.0, -60.0), "south")
    before = classifier.chances()
    classifier.add((180.0, 0.0), "east")
    assert classifier.chances().shape[0] == 3
    assert classifier.raster().sel(lon=-175.0, lat=5.0) == 2
    classifier.undo()
    np.testing.assert_array_equal(classifier.chances(), before)


def test_clicks_one_by_one_equal_all_at_once(classifier):
    labels = Labels()
    for i, place in enumerate(equal_area_sample(30, seed=0)):
        labels = labels.add(place, "abc"[i % 3])
        classifier.set_labels(labels)
    again = ClickClassifier(classifier.encoder, classifier.grid)
    again.set_labels(labels)
    # One product of 30 columns or 30 of one: rounding of float32.
    np.testing.assert_allclose(classifier.chances(), again.chances(), atol=1e-4)
    np.testing.assert_allclose(classifier.chances().sum(0), 1.0, atol=1e-5)


def test_labels_win_at_their_own_place():
    classifier = ClickClassifier(load_encoder("harmonics-l10"), Grid.from_resolution(10.0))
    places = classifier.grid.lonlat[::61]
    for i, place in enumerate(places):
        classifier.add(place, "abcd"[i % 4])
    codes = classifier.raster().values.ravel()[::61]
    assert (codes == np.arange(len(places)) % 4).mean() > 0.95


def test_labelling_a_place_again_replaces_its_label():
    labels = Labels().add((0, 0), "a").add((1, 1), "b").add((360, 0), "c")
    assert labels.classes == ("b", "c")
    assert labels.undo().names == ("b",)
    assert Labels().undo() == Labels()


def test_contradicting_neighbors_do_not_blow_up(classifier):
    classifier.add((10.0, 10.0), "a")
    classifier.add((10.0, 10.0000001), "b")
    assert np.isfinite(classifier.chances()).all()


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ((0, 0), "  ", "1 to 80"),
        ((0, 0), "x" * 81, "1 to 80"),
        ((0, 95), "a", "latitude"),
        ([(0, 0), (1, 1)], "a", "one click is one place"),
    ],
)
def test_clicks_that_make_no_sense_are_refused(place, name, message):
    with pytest.raises(ValueError, match=message):
        Labels().add(place, name)


def test_labels_are_saved_and_read_again():
    labels = Labels()
    for i, place in enumerate(equal_area_sample(12, seed=0).round(4)):
        labels = labels.add(place, ["rice, wet", "=maize"][i % 2])
    frame = labels.frame()
    assert list(frame.columns) == ["lon", "lat", "label"]
    again = Labels.from_table(csv_bytes(frame))
    assert len(again.classes) == 12
    assert set(again.names) == {"rice, wet", "'=maize"}
    with pytest.raises(ValueError, match="no column 'label'"):
        Labels.from_table(frame.rename(columns={"label": "x"}))


class West(LocationEncoder):
    name, family, embed_dim = "west", "test", 3

    def encode(self, lonlat):
        import torch

        ones = torch.cat([lonlat, torch.ones(len(lonlat), 1)], 1)
        return torch.where(lonlat[:, :1] < 0, ones, torch.nan).float()


def test_pixels_without_coverage_have_no_class_and_clicks_there_are_refused():
    classifier = ClickClassifier(West(), Grid.from_resolution(10.0))
    with pytest.raises(ValueError, match="knows nothing at"):
        classifier.add((10.0, 0.0), "a")
    assert classifier.labels == Labels()
    classifier.add((-10.0, 50.0), "a")
    classifier.add((-100.0, -50.0), "b")
    raster = classifier.raster()
    assert (raster.sel(lon=raster.lon > 0) == -1).all()
    assert (raster.sel(lon=raster.lon < 0) >= 0).all()
