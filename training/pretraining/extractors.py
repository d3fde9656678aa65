"""From a configuration to the features it asks for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from satclip_explore.errors import MissingFileError, Offer
from training.imagery.backbone_features import BackboneFeatures
from training.imagery.backbones import BACKBONES, SSL4EO_BANDS, Frozen, load_backbone
from training.imagery.blue_marble import BlueMarble
from training.imagery.cache import FeatureExtractor
from training.imagery.download import blue_marble_folder, download_blue_marble
from training.imagery.geotiffs import S2100K, GeoTiffs
from training.imagery.patch_statistics import PatchStatistics
from training.imagery.random_convolutions import random_convolutions
from training.imagery.source import ImagerySource
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


def open_source(
    config: PretrainConfig, data: str | Path | None = None, *, download: bool = False
) -> ImagerySource:
    """Open the imagery that a configuration names.

    Parameters
    ----------
    config : PretrainConfig
        Its `imagery` and `features` sections are used.
    data : str or pathlib.Path, optional
        Folder of the imagery; takes the place of `imagery.root`. Where neither is given, Blue
        Marble is looked for where downloads are kept.
    download : bool
        Whether Blue Marble (31.5 MB) may be fetched there.

    Raises
    ------
    FileNotFoundError
        If the folder or files in it are missing.
    ValueError
        If what is there cannot be used.
    """
    imagery = config.imagery
    given = str(data if data is not None else imagery.root)
    root = Path(given)
    if not given and imagery.source == "blue-marble":
        root = download_blue_marble() if download else blue_marble_folder()
        given = str(root)
    if not given or not root.is_dir():
        shown = f"at {root}" if given else "was named"
        if imagery.source == "blue-marble":
            raise MissingFileError(
                f"No imagery {shown}. Name its folder as data, or none for Blue Marble (31.5 MB).",
                Offer.DOWNLOAD,
            )
        raise FileNotFoundError(
            f"No imagery {shown}. Name its folder as data, or start with the configuration laptop."
        )
    augmentations = config.features.augmentations
    if imagery.source == "blue-marble":
        return BlueMarble(
            root,
            places=imagery.places,
            antarctica_fraction=imagery.antarctica_fraction,
            ocean_fraction=imagery.ocean_fraction,
            augmentations=augmentations,
            jitter_m=config.features.jitter_m,
            seed=config.training.seed,
            night_lights=imagery.night_lights,
        )
    settings: dict[str, Any] = {
        "places": imagery.places,
        "patch_size": imagery.patch_size,
        "allow_missing": imagery.allow_missing,
        "augmentations": augmentations,
        "seed": config.training.seed,
        "blur": config.features.blur,
    }
    if imagery.source == "s2-100k":
        return S2100K(root, **settings)
    named = imagery.bands if imagery.bands != ("auto",) else ()
    return GeoTiffs(root, bands=named, scale=imagery.scale, **settings)
