"""From a configuration to the features it asks for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.imagery.backbone_features import BackboneFeatures
from training.imagery.backbones import BACKBONES, SSL4EO_BANDS, Frozen, load_backbone
from training.imagery.blue_marble import BlueMarble
from training.imagery.cache import FeatureExtractor
from training.imagery.geotiffs import GeoTiffs
from training.imagery.patch_statistics import PatchStatistics
from training.imagery.random_convolutions import random_convolutions
from training.imagery.source import open_source
from training.pretraining.config import PretrainConfig


def open_extractor(
    config: PretrainConfig,
    data: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    download: bool = False,
) -> tuple[FeatureExtractor, dict[str, Any]]:
    """Open imagery and image encoder.

    Parameters
    ----------
    config : PretrainConfig
        Settings.
    data : str or pathlib.Path, optional
        Folder of the imagery; takes the place of `imagery.root`.
    device : str or torch.device
        Where a network runs.
    download : bool
        Whether its weights, and Blue Marble, may be fetched.

    Returns
    -------
    extractor : FeatureExtractor
    description : dict
        Plain values that decide the features.

    Raises
    ------
    FileNotFoundError
        If imagery or weights are missing.
    ValueError
        If the image encoder is unknown or does not fit the imagery.
    """
    name = config.features.image_encoder
    known = ("patch-statistics", "random-convolutions", *BACKBONES)
    if name not in known:
        raise ValueError(f"image_encoder must be one of {', '.join(known)}; got {name!r}.")
    source = open_source(config, data, download=download)
    extractor: FeatureExtractor
    if name == "patch-statistics":
        if not isinstance(source, BlueMarble):
            raise ValueError(
                "patch-statistics looks at the surroundings of a place and needs the source "
                f"'blue-marble'; got {source.name!r}. Use 'random-convolutions' or a backbone."
            )
        extractor = PatchStatistics(source, config.features.scales_km)
    elif name == "random-convolutions":
        network = random_convolutions(source, seed=config.training.seed)
        extractor = BackboneFeatures(
            source,
            Frozen(network),
            name,
            network.dim,
            weights={"seed": config.training.seed},
            device=str(device),
        )
    else:
        if isinstance(source, GeoTiffs) and source.scale == 1.0 and source.whole_numbers:
            raise ValueError(
                f"the images hold whole numbers and {name} expects reflectance; set scale, "
                "10000 for Sentinel-2."
            )
        size = BACKBONES[name].image_size
        if isinstance(source, GeoTiffs) and config.imagery.patch_size < size:
            raise ValueError(
                f"{name} looks at {size} x {size} pixels; patch_size must be at least {size}, got "
                f"{config.imagery.patch_size}."
            )
        own = config.features.batch_statistics
        # The authors' batches; statistics of fewer images would be others.
        sizes = {"block_size": 512, "batch_size": 512} if own else {}
        extractor = BackboneFeatures(
            source,
            load_backbone(name, download=download, batch_statistics=own),
            name,
            BACKBONES[name].dim,
            weights=asdict(BACKBONES[name]) | ({"batch_statistics": 512} if own else {}),
            bands=SSL4EO_BANDS,
            image_size=size,
            device=str(device),
            **sizes,
        )
    return extractor, {**source.describe(), **extractor.describe()}
