"""What probes find in TorchSpatial's real weights, beside what their authors' logs say.

Their logs give the top-1 accuracy of the location encoder alone, on validation places of the data
it was trained on: fMoW, in the world: Sphere2Vec-sphereC+ 20.5 %, Space2Vec-theory 17.2 %, xyz
11.7 %; YFCC, in the USA: Space2Vec-grid 12.7 %, xyz 7.9 %.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from satclip_explore.atlas import country_at, load_atlas
from satclip_explore.embedding_geometry import semivariogram
from satclip_explore.encoders.registry import load_encoder
from training.probe import train_probe
from training.tasks.atlas import load_task
from training.tasks.task import Task

KINDS = {
    "fmow-sphereC+": "model_fmow_Sphere2Vec-sphereC+",
    "fmow-theory": "model_fmow_Space2Vec-theory",
    "fmow-xyz": "model_fmow_xyz",
    "yfcc-grid": "model_yfcc_Space2Vec-grid",
}
WORLD = [name for name in KINDS if name.startswith("fmow")]


@pytest.fixture(scope="module")
def trained(shared):
    folder = shared / "weights" / "torchspatial"
    found = {}
    for name, start in KINDS.items():
        found[name] = load_encoder(next(folder.glob(f"{start}_*.pth.tar")))
        found[name].name = name
    return found


def accuracy(task, encoders, **options):
    """Score a linear probe, what the authors read their classes off with, beside plain xyz."""
    result = train_probe(
        task, encoder="xyz", encoders=encoders, baselines=False, model="linear", seeds=1, **options
    )
    return result.metrics["accuracy"]


@pytest.fixture(scope="module")
def world_scores(trained):
    """Accuracies on a task, computed once."""
    return cache(lambda task: accuracy(task, [trained[name] for name in WORLD]))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "least"), [("biome", 0.04), ("country", 0.03)])
def test_weights_for_the_world_are_above_plain_xyz(world_scores, task, least):
    scores = world_scores(task)
    # Measured gains: biome .065 to .26, country .058 to .10; 10,000 test places, sd below .005.
    assert (scores[WORLD] - scores["xyz"]).min() > least
    assert (scores[WORLD] - scores["xyz"]).max() < 0.35


def test_countries_of_towns_rank_the_weights_as_their_authors_logs_do(shared, trained):
    table = pd.read_csv(shared / "data" / "points" / "natural_earth_populated_places.csv")
    names, codes = np.unique(table["adm0name"].astype(str), return_inverse=True)
    lonlat = table[["lon", "lat"]].to_numpy()
    towns = Task("country of towns", "classification", lonlat, codes, tuple(names))
    scores = accuracy(towns, [trained[name] for name in WORLD])
    # fMoW's images show what people build. Measured .743, .687, .641 and .592 for plain xyz.
    assert scores.sort_values(ascending=False).index.tolist() == [*WORLD, "xyz"]
    assert -scores[[*WORLD, "xyz"]].diff().dropna().max() > 0.02


def test_weights_for_the_usa_are_above_plain_xyz_there_and_below_it_elsewhere(trained):
    task = load_task("biome")
    lon, lat = task.lonlat.T
    inside = (country_at(task.lonlat) == "United States of America") & (lat < 50) & (lon > -126)
    gains = []
    for seed in range(5):
        scores = accuracy(task.subset(inside), [trained["yfcc-grid"]], split_seed=seed)
        gains.append(scores["yfcc-grid"] - scores["xyz"])
    # 500 test places: one split scatters by .02, five by half of that.
    assert np.mean(gains) > 0.0
    scores = accuracy("country", [trained["yfcc-grid"]])
    # Trained on nothing but the USA: measured .13 below.
    assert scores["yfcc-grid"] < scores["xyz"] - 0.05


@pytest.mark.slow
def test_why_trained_xyz_interpolates_better_than_finer_encodings(trained, world_scores):
    lonlat = load_atlas().lonlat[:3000]
    within = {}
    for name in WORLD:
        table = semivariogram(lonlat, trained[name].embed(lonlat), edges_km=[0.0, 60.0, 20_016.0])
        within[name] = table["semivariance"].iloc[0]
    # Waves down to 0.0001° change between any two places of the atlas, 90 km apart: to a probe on
    # them a fifth of the variance is noise. The three coordinates of xyz have none.
    assert 0.1 < within["fmow-sphereC+"] < 0.3
    assert 0.1 < within["fmow-theory"] < 0.3
    assert within["fmow-xyz"] < 0.005
    scores = world_scores("biome")
    assert scores["fmow-xyz"] > scores["fmow-sphereC+"] > scores["fmow-theory"] > scores["xyz"]
