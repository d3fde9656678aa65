"""Values of settings: their types, which of them cannot work, and the sentence that says so."""

from __future__ import annotations

import math
import re
import tomllib
from itertools import pairwise
from typing import Any

import numpy as np

from satclip_explore.encoders.siren import SatCLIPConfig
from training.imagery.patch_statistics import column_groups
from training.imagery.whitening import Whitening
from training.pretraining.settings import (
    FeatureConfig,
    ImageryConfig,
    LocationConfig,
    TrainingConfig,
)
from training.tasks.atlas import ATLAS_TASKS

CHOICES = {
    "source": ("blue-marble", "s2-100k", "geotiffs"),
    "head": ("linear", "mlp"),
    "jitter": ("symmetric", "published"),
    "schedule": ("cosine", "constant"),
    "precision": ("auto", "float32", "bfloat16"),
}

LOWEST: dict[str, float] = {
    **dict.fromkeys(("places", "components", "component_power", "jitter_m", "seed"), 0),
    **dict.fromkeys(("weight_decay", "warmup", "gradient_clip", "degree_damping"), 0),
    **dict.fromkeys(("contrastive_weight", "regression_weight", "position_weight"), 0),
    **dict.fromkeys(("first_layer_rate", "regression_power", "dropout"), 0),
    **dict.fromkeys(("antarctica_fraction", "ocean_fraction"), 0),
    **dict.fromkeys(
        ("epochs", "loss_chunk", "head_dim", "patch_size", "augmentations", "accumulate"), 1
    ),
    **dict.fromkeys(("batch_size", "validation_places"), 2),
    "position_anisotropy": 1,
    **dict.fromkeys(("position_eigenfunctions", "position_near_features"), 1),
    **dict.fromkeys(("position_zonal_share", "position_near_share"), 0),
    **dict.fromkeys(("position_length_km", "position_zonal_km", "position_near_km"), 1),
    **dict.fromkeys(("learning_rate", "initial_scale", "maximum_scale", "image_share"), 1e-12),
}


def check(
    name: str,
    imagery: ImageryConfig,
    features: FeatureConfig,
    location: LocationConfig,
    training: TrainingConfig,
) -> None:
    """Refuse settings that cannot work, one sentence each."""
    # It names a folder below runs/, and comes from a file.
    if not re.fullmatch(r"\w[\w .+=-]*", name):
        raise ValueError(f"name must be a plain name of a folder; got {name!r}.")
    sizes = {key: value for key, value in vars(location).items() if key != "degree_damping"}
    # What could not be opened afterward is refused before it is trained.
    SatCLIPConfig(**sizes, name=name)
    for section in (imagery, features, location, training):
        for name, value in vars(section).items():
            numbers = [each for each in np.atleast_1d(value) if isinstance(each, float)]
            if not all(map(math.isfinite, numbers)):
                raise ValueError(f"{name} must be finite; got {value}.")
            if name in CHOICES and value not in CHOICES[name]:
                shown = ", ".join(map(repr, CHOICES[name]))
                raise ValueError(f"{name} must be one of {shown}; got {value!r}.")
            if name in LOWEST and value < LOWEST[name]:
                raise ValueError(f"{name} must be at least {LOWEST[name]:g}; got {value}.")
    for name, value in (
        ("warmup", training.warmup),
        ("antarctica_fraction", imagery.antarctica_fraction),
        ("ocean_fraction", imagery.ocean_fraction),
        ("dropout", training.dropout),
        ("image_share", training.image_share),
        ("position_near_share", training.position_near_share),
    ):
        if value >= 1.0:
            raise ValueError(f"{name} is a fraction and must be below 1; got {value}.")
    betas = training.adam_betas
    if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
        raise ValueError(f"adam_betas are two numbers from 0 to below 1; got {betas}.")
    scales = features.scales_km
    if not scales or scales[0] <= 0 or any(b <= a for a, b in pairwise(scales)):
        raise ValueError(f"scales_km must be positive and increasing; got {scales}.")
    statistics = features.image_encoder == "patch-statistics"
    lights = imagery.night_lights
    if lights and not (statistics and imagery.source == "blue-marble"):
        raise ValueError(
            "night_lights enter patch-statistics of 'blue-marble' only; leave them out."
        )
    weights = features.scale_weights
    # How wide the features of a network are is known when it is there.
    widths = column_groups(len(scales), lights) if statistics else (0,)
    if weights and (len(weights) != len(widths) or not all(w > 0 for w in weights)):
        raise ValueError(
            f"scale_weights must be {len(widths)} positive numbers, one for each group of "
            f"features; got {weights}."
        )
    if statistics and training.regression_weight:
        n_features = training.position_eigenfunctions + training.position_near_features
        image_dim = Whitening(widths, features.components).dim
        check_width(sizes["embed_dim"], n_features if training.position_weight else 0, image_dim)
    if imagery.scale <= 0:
        raise ValueError(f"scale must be above 0; got {imagery.scale}.")
    if imagery.source == "blue-marble" and (features.blur or features.jitter == "published"):
        raise ValueError("blur and jitter='published' are for files; leave them out.")
    if imagery.source != "geotiffs" and (imagery.scale != 1.0 or imagery.bands != ("auto",)):
        raise ValueError(f"bands and scale are known for {imagery.source!r}; leave them out.")
    unknown = [name for name in training.probes if name not in ATLAS_TASKS]
    if unknown:
        raise ValueError(f"probes are tasks among {', '.join(ATLAS_TASKS)}; got {unknown[0]!r}.")
    if training.maximum_scale < training.initial_scale:
        raise ValueError(
            f"maximum_scale must not be below initial_scale ({training.initial_scale}); "
            f"got {training.maximum_scale}."
        )
    if training.contrastive_weight + training.regression_weight <= 0:
        raise ValueError(
            "contrastive_weight and regression_weight are both 0: nothing to learn from images."
        )
    zonal = training.position_zonal_share
    if zonal > 1.0:
        raise ValueError(f"position_zonal_share lies between 0 and 1; got {zonal}.")


def check_width(embed_dim: int, n_features: int, image_dim: int) -> None:
    """Refuse an embedding that is too short for position features and image components."""
    if n_features + image_dim > embed_dim:
        raise ValueError(
            f"an embedding of {embed_dim} numbers cannot hold {n_features} position features and "
            f"{image_dim} image components; lower position_eigenfunctions, position_near_features "
            "or components."
        )


def converted(name: str, value: Any, default: Any) -> Any:
    """Give `value` the type of `default`; text, as the command line has it, is read."""
    kind = type(default)
    try:
        if isinstance(value, str) and not isinstance(default, str):
            value = tomllib.loads(f"value = {value.strip()}")["value"]
        if kind is tuple:
            items = value if isinstance(value, (list, tuple)) else [value]
            return tuple(converted(name, item, default[0] if default else 0.0) for item in items)
        if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise ValueError(_wrong_type(name, default, value)) from error
    if type(value) is not kind:
        raise ValueError(_wrong_type(name, default, value))
    return value


def _wrong_type(name: str, default: Any, value: Any) -> str:
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    wanted = words.get(type(default).__name__, "a list of numbers")
    if default and isinstance(default, tuple) and isinstance(default[0], str):
        wanted = f'a list of words, as in ["{default[0]}"]'
    return f"{name} must be {wanted}; got {value!r}."
