"""What the encoder of an epoch knows of a few tasks: shown and kept, and it chooses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from satclip_explore.encoders.base import LocationEncoder
from training.probe import train_probe
from training.tasks.atlas import load_task
from training.tasks.splits import shuffled

PLACES = 4000
"""Labeled places of each task, half of which are scored: a fraction of a second."""


def probe_scores(encoder: LocationEncoder, tasks: Sequence[str]) -> dict[str, float]:
    """Score nearest neighbors in embedding space on random halves of some places of each task.

    Parameters
    ----------
    encoder : LocationEncoder
        As it is at the end of an epoch.
    tasks : sequence of str
        Names in `list_tasks`.

    Returns
    -------
    dict of str to float
        Accuracy of classes, R² of values; 1 is perfect.
    """
    scores = {}
    # Without a hash its embeddings go with it, and push out none of encoders in use.
    encoder = copy(encoder)
    encoder.weights_hash = ""
    for name in tasks:
        task = load_task(name)
        task = task.subset(shuffled(len(task), 0)[:PLACES])
        result = train_probe(
            task, encoder=encoder, model="knn", baselines=False, seeds=1, device="cpu"
        )
        metric = "accuracy" if task.is_classification else "r2"
        scores[name] = float(result.metrics[metric][encoder.name])
    return scores
