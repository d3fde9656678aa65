"""The model card as a person reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from training.config import SECTIONS, PretrainConfig


def card_text(config: PretrainConfig, card: Mapping[str, Any]) -> str:
    """Write a model card as Markdown, from nothing but what the run noted.

    Parameters
    ----------
    config : PretrainConfig
        Settings of the run.
    card : mapping
        As `training.loop.Loop.card` makes it.
    """
    data, found = card["data"], card["validation"]
    recalls = " / ".join(f"{found[f'recall_at_{n}']:.3f}" for n in (1, 5, 10))
    medians = f"{found['image_median_rank']:g}, {found['location_median_rank']:g}"
    name = config.name
    probes = ", ".join(f"{task} {score:.3f}" for task, score in found.get("probes", {}).items())
    facts = {
        "imagery": f"{data['source']}; {data.get('licence', 'see its source')}",
        "labels": "none of any task",
        "training places": f"{card['training_places']:,}",
        "validation places": f"{found['candidates']:,}, at random",
        "seed": card["seed"],
        "epochs": card["epochs"],
        "steps": f"{card['steps']:,} of {config.training.batch_size:,} pairs",
        "training time": f"{card['training_minutes']} minutes",
        "recall@1 / @5 / @10 of unseen pairs": f"{recalls} of {found['candidates']:,}",
        "median rank by image, by location": medians,
        "nearest neighbors in the embedding, accuracy or R²": probes or "not scored",
        "code": f"{card['revision']}, torch {card['torch']}",
        "made by": f"`python -m training.pretrain {name} --data FOLDER`, then "
        f"`python -m training.export runs/{name} {name}`",
        "licence": "MIT",
    }
    settings = {
        f"{section}.{key}": value
        for section in SECTIONS
        for key, value in dataclasses.asdict(getattr(config, section)).items()
    }
    return "\n".join(
        [
            f"# {name}",
            "",
            config.description,
            "",
            *_table("fact", facts),
            "",
            "Recall counts how often the first of all unseen places is the right one, averaged",
            "over both directions. At sea, where there was nothing to see, embeddings interpolate.",
            "",
            *_table("setting", settings),
            "",
        ]
    )


def _table(head: str, rows: Mapping[str, Any]) -> list[str]:
    return [f"| {head} | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
