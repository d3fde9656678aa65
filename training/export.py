"""A finished run as others want it: an encoder with its model card, or a published file."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from satclip_explore.encoders.checkpoint import export_lightning, read_config, save_encoder
from satclip_explore.encoders.satclip import SatCLIP, build_encoder
from satclip_explore.files.atomic import write_whole
from training.imagery.backbones import BACKBONES, read_backbone_weights
from training.imagery.patch_statistics import column_groups
from training.pretraining.checkpoint import read_state
from training.pretraining.config import SECTIONS, PretrainConfig, from_dict
from training.pretraining.model import ContrastiveModel, location_encoder


def card_text(config: PretrainConfig, card: Mapping[str, Any]) -> str:
    """Write a model card as Markdown, from nothing but what the run noted.

    Parameters
    ----------
    config : PretrainConfig
        Settings of the run.
    card : mapping
        As `training.pretraining.loop.Loop.card` makes it.
    """
    data, found = card["data"], card["validation"]
    recalls = " / ".join(f"{found[f'recall_at_{n}']:.3f}" for n in (1, 5, 10))
    medians = f"{found['image_median_rank']:g}, {found['location_median_rank']:g}"
    name = config.name
    probes = ", ".join(f"{task} {score:.3f}" for task, score in found.get("probes", {}).items())
    facts = {
        "imagery": f"{data['source']}; {data.get('license', 'see its source')}",
        "labels": "none of any task",
        "training places": f"{card['training_places']:,}",
        "left out of each epoch": f"{card.get('left_out_of_each_epoch', 'unknown')}, too few for a "
        "batch; others every time",
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
        "license": "MIT",
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


CLASSIFIERS = {"resnet18": "fc", "resnet50": "fc", "vit16": "head"}
"""What timm calls the last layer, which holds the trained projection."""

PUBLISHED_LAYERS = {name: f"moco_{name}" for name in BACKBONES}
"""What microsoft/satclip calls the backbones."""

NO_LAYERS = {
    "vision_layers": 0,
    "vision_width": 64,
    "vision_patch_size": 1,
    "image_resolution": 1,
    "in_channels": 1,
}
"""Settings of the published vision transformer at its smallest."""

NORMS = ("ln_pre", "ln_post")
"""What it calls its two normalizations."""


def export_run(run: str | Path, folder: str | Path, *, storage: str = "float16") -> Path:
    """Store the encoder of a run with its model card, as text too.

    Parameters
    ----------
    run : str or pathlib.Path
        Folder that `pretrain` returned.
    folder : str or pathlib.Path
        Where encoder.safetensors, config.json and README.md go.
    storage : {"float16", "float32"}
        Precision of the stored weights.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no finished epoch in the run's folder.
    """
    config, model, _ = _open_run(run)
    card = read_config(run)["card"]
    folder = save_encoder(location_encoder(model, config), folder, card=card, storage=storage)
    write_whole(folder / "README.md", card_text(config, card).encode())
    return folder


def export_published(
    run: str | Path,
    path: str | Path,
    *,
    backbone_weights: str | Path | None = None,
    download: bool = False,
) -> Path:
    """Write a run as a Lightning checkpoint of the published layout.

    Parameters
    ----------
    run : str or pathlib.Path
        Folder that `pretrain` returned.
    path : str or pathlib.Path
        File to write.
    backbone_weights : str or pathlib.Path, optional
        Weights of the image encoder, for runs that used a published backbone; default the cache.
    download : bool
        Whether they may be fetched.

    Returns
    -------
    pathlib.Path
        The file, which opens in microsoft/satclip's `get_satclip`. Contrastive runs with a linear
        head on the features of a published backbone, not reduced to components, hold the whole
        model. The layout cannot hold other image encoders: in their place is a network of that
        layout without layers, whose answer is always zero.
    """
    config, model, _ = _open_run(run)
    encoder = with_published_frequencies(location_encoder(model, config))
    hyper: dict[str, Any] = {
        "learning_rate": config.training.learning_rate,
        "weight_decay": config.training.weight_decay,
    }
    name = config.features.image_encoder
    # Components are clipped, which no linear layer does; without contrast the head is not trained.
    is_linear = config.training.head == "linear" and not config.features.components
    if name in BACKBONES and is_linear and config.training.contrastive_weight:
        backbone = read_backbone_weights(BACKBONES[name], backbone_weights, download=download)
        image_state: dict[str, torch.Tensor] = {**backbone, **_projection(model, CLASSIFIERS[name])}
        hyper["vision_layers"] = PUBLISHED_LAYERS[name]
    else:
        image_state = _no_image_encoder(config.location.embed_dim)
        hyper |= NO_LAYERS
    return export_lightning(
        encoder,
        path,
        image_state,
        hyper_parameters=hyper,
        logit_scale=float(model.logit_scale.detach()),
    )


def _no_image_encoder(embed_dim: int) -> dict[str, torch.Tensor]:
    """Give the weights of the published vision transformer without layers: nothing but zeros."""
    width = NO_LAYERS["vision_width"]
    norms = {f"{norm}.{part}": (width,) for norm in NORMS for part in ("weight", "bias")}
    shapes = {
        "conv1.weight": (width, 1, 1, 1),
        "class_embedding": (width,),
        "positional_embedding": (2, width),
        "proj": (width, embed_dim),
        **norms,
    }
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


@torch.no_grad()
def with_published_frequencies(encoder: SatCLIP) -> SatCLIP:
    """Return the same encoder with w0_initial = 30 and w0 = 1: the rest moves into the weights."""
    config = dataclasses.replace(encoder.config, w0_initial=30.0, w0=1.0)
    state = dict(encoder.network.state_dict())
    for index, before in enumerate(encoder.network.frequencies):
        after = config.w0 if index else config.w0_initial
        for part in ("weight", "bias"):
            state[f"layers.{index}.{part}"] = state[f"layers.{index}.{part}"] * (before / after)
    return build_encoder(config, state, dtype=encoder.dtype, device=encoder.device)


@torch.no_grad()
def _projection(model: ContrastiveModel, layer: str) -> dict[str, torch.Tensor]:
    """Fold standardization and head into the one linear layer of the published image encoder."""
    assert isinstance(model.head, torch.nn.Linear)
    whitening = model.whitening
    weight = model.head.weight * whitening.relevance(model.power)
    weight = weight.double() @ whitening.weight.double().T
    bias = model.head.bias.double() - weight @ whitening.mean.double()
    return {f"{layer}.weight": weight.float(), f"{layer}.bias": bias.float()}


def _open_run(run: str | Path) -> tuple[PretrainConfig, ContrastiveModel, dict[str, Any]]:
    state = read_state(Path(run))
    if state is None:
        raise FileNotFoundError(f"{run} holds no run; pass the folder that pretrain returned.")
    config = from_dict(state["config"])
    try:
        groups: tuple[int, ...] = (len(state["model"]["whitening.mean"]),)
        if config.features.image_encoder == "patch-statistics":
            groups = column_groups(len(config.features.scales_km), config.imagery.night_lights)
        model = ContrastiveModel(config, groups)
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"{run} was trained by another version of this program: its weights have other shapes "
            "or names."
        ) from error
    return config, model, state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see --help."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("run", help="folder that pretraining made")
    parser.add_argument("target", help="folder to write, or a .ckpt file of the published layout")
    parser.add_argument("--storage", default="float16", choices=("float16", "float32"))
    parser.add_argument("--backbone-weights", help="file of the image encoder's weights")
    parser.add_argument(
        "--download", action="store_true", help="fetch these where they are missing"
    )
    given = parser.parse_args(arguments)
    try:
        if given.target.endswith(".ckpt"):
            path = export_published(
                given.run,
                given.target,
                backbone_weights=given.backbone_weights,
                download=given.download,
            )
        else:
            path = export_run(given.run, given.target, storage=given.storage)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
