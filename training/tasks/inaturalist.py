"""iNaturalist 2018: species at places, with features of their photographs computed beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from satclip_explore.checks import whole_number
from training.tasks.task import Task

URL = "https://github.com/visipedia/inat_comp/tree/master/2018"
PARTS = ("train2018", "val2018")
FILES = ", ".join(f"{part}.json and {part}_locations.json" for part in PARTS)


def load_inaturalist(
    metadata: str | Path,
    locations: str | Path,
    image_features: str | Path | None = None,
    *,
    min_per_species: int = 2,
) -> Task:
    """Read species observations as a task.

    Parameters
    ----------
    metadata : path
        The competition's annotations (JSON): images, annotations (image_id, category_id) and,
        where given, categories.
    locations : path
        The competition's locations (JSON): a list of {id, lon, lat, …}, id being an image's.
    image_features : path, optional
        NumPy file (.npz, no pickles) with `image_id` (M,) and `features` (M, F) of a frozen image
        model. They are joined to the embedding of the place, as in SatCLIP's experiment.
    min_per_species : int
        Species with fewer observations are left out, and counted.

    Returns
    -------
    Task
        Classification; observations at the same place are kept, since their photographs differ.

    Raises
    ------
    FileNotFoundError
        If a file is missing; says where to get it.
    ValueError
        If a file is not in the published format.

    References
    ----------
    Van Horn et al. (2018), "The iNaturalist Species Classification and Detection Dataset", CVPR.
    """
    least = whole_number(min_per_species, "min_per_species", 1, 10**9)
    rows, names = _observations(metadata, locations)
    return _task(rows, names, image_features, least)


def load_inaturalist_2018(folder: str | Path, image_features: str | Path | None = None) -> Task:
    """Read the species task with its published split: train2018 trains, val2018 tests.

    Parameters
    ----------
    folder : path
        Holds train2018.json, val2018.json, and train2018_locations.json, val2018_locations.json.
    image_features : path, optional
        As for `load_inaturalist`, of the photographs of both.

    Returns
    -------
    Task
        Its `published_test` marks val2018. Species are as published, rare ones too. A place may
        have photographs in both: the split is by photograph.

    Raises
    ------
    FileNotFoundError
        If a file is missing; says where to get it.
    ValueError
        If a file is not in the published format, or a photograph is in both parts.
    """
    parts: list[pd.DataFrame] = []
    names: dict[int, str] = {}
    for part in PARTS:
        rows, named = _observations(
            Path(folder) / f"{part}.json", Path(folder) / f"{part}_locations.json"
        )
        parts.append(rows.assign(test=part == "val2018"))
        names |= named
    rows = pd.concat(parts)
    twice = rows.index[rows.index.duplicated()]
    if len(twice):
        raise ValueError(
            f"{' and '.join(PARTS)} must hold different photographs; {len(twice):,} are in both, "
            f"as image {twice[0]}."
        )
    return _task(rows, names, image_features, least=1)


def _observations(
    metadata: str | Path, locations: str | Path
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return species, lon and lat (NaN where unknown) by image, and the names of species."""
    content = _read_json(metadata)
    try:
        labels = {int(row["image_id"]): int(row["category_id"]) for row in content["annotations"]}
        names = {int(row["id"]): str(row["name"]) for row in content.get("categories", ())}
        places = {
            int(image["id"]): (float(image["lon"]), float(image["lat"]))
            for image in _read_json(locations)
            if image.get("lon") is not None and image.get("lat") is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{Path(metadata).name} and {Path(locations).name} are not in the format of {URL} "
            f"({error!r:.80})."
        ) from error
    rows = pd.DataFrame({"species": pd.Series(labels)})
    rows[["lon", "lat"]] = pd.DataFrame.from_dict(places, orient="index", columns=["lon", "lat"])
    return rows, names


def _task(
    rows: pd.DataFrame, names: dict[int, str], image_features: str | Path | None, least: int
) -> Task:
    """Join the features, and leave out and count what has no place or no features."""
    dropped = {"no place": int(rows["lon"].isna().sum())}
    rows = rows.dropna()
    features = None
    if image_features is not None:
        found, values = _read_features(Path(image_features))
        position = pd.Series(np.arange(len(found)), index=found)
        has = rows.index.isin(found)
        dropped["no image features"] = int((~has).sum())
        rows = rows[has]
        features = values[position.loc[rows.index].to_numpy()]
    enough = rows.groupby("species")["lon"].transform("size") >= least
    dropped["rare species"] = int((~enough).sum())
    codes, species = pd.factorize(rows.loc[enough, "species"], sort=True)
    return Task(
        name="inaturalist-2018",
        kind="classification",
        lonlat=rows.loc[enough, ["lon", "lat"]].to_numpy(),
        target=codes,
        classes=tuple(names.get(int(code), f"species {int(code)}") for code in species),
        source=f"iNaturalist 2018, {URL}",
        license="CC BY-NC 4.0 (annotations); photographs are their authors'",
        dropped=MappingProxyType({why: count for why, count in dropped.items() if count}),
        image_features=None if features is None else features[enough.to_numpy()],
        published_test=rows.loc[enough, "test"].to_numpy(bool) if "test" in rows else None,
    )


def _read_json(path: str | Path) -> Any:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; get {FILES} from {URL}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON ({error}).") from error


def _read_features(path: Path) -> tuple[Any, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"no image features at {path}; compute them with any image model and save them with "
            "numpy.savez(path, image_id=…, features=…)."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, features = file["image_id"], file["features"]
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path.name} needs arrays image_id and features ({error}).") from error
    if ids.ndim != 1 or features.ndim != 2 or len(ids) != len(features):
        raise ValueError(
            f"image_id must have shape (M,) and features (M, F); got {ids.shape} and "
            f"{features.shape}."
        )
    if not np.isfinite(features).all() or len(np.unique(ids)) != len(ids):
        raise ValueError("image features must be finite, and each image_id appear once.")
    return ids, features.astype(np.float32)
