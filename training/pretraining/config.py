"""The configuration of a pretraining run: TOML files, overrides, checks."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from training.imagery.source import FORMER_NAMES, current_names
from training.pretraining.config_checks import check, converted
from training.pretraining.settings import (
    FeatureConfig,
    ImageryConfig,
    LocationConfig,
    TrainingConfig,
)

CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class PretrainConfig:
    """All settings of one run; the names of single settings are unique over the sections."""

    name: str = "pretrained"
    description: str = ""
    imagery: ImageryConfig = field(default_factory=ImageryConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    location: LocationConfig = field(default_factory=LocationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check(self.name, self.imagery, self.features, self.location, self.training)

    def replace(self, **settings: Any) -> PretrainConfig:
        """Return a copy with single settings changed, wherever in the sections they live.

        Parameters
        ----------
        **settings
            Setting names, as in `epochs=2`; values are converted to the type of the default.

        Raises
        ------
        TypeError
            If a name is unknown; the closest known name is offered.
        ValueError
            If a value does not fit.
        """
        tree = self.to_dict()
        homes = _homes()
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            name = FORMER_NAMES.get(name, name)
            if name not in homes or (section and homes[name] != section):
                raise TypeError(f"unknown setting {key!r}.{_close(key, homes)}")
            target = tree[homes[name]] if homes[name] else tree
            target[name] = value
        return from_dict(tree)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dicts of plain values, as they are stored in a checkpoint."""
        return dataclasses.asdict(self)


SECTIONS: dict[str, type] = {
    "imagery": ImageryConfig,
    "features": FeatureConfig,
    "location": LocationConfig,
    "training": TrainingConfig,
}


def load_config(config: str | Path | PretrainConfig) -> PretrainConfig:
    """Read a configuration.

    Parameters
    ----------
    config : str, pathlib.Path or PretrainConfig
        Name of a file in training/configs ("laptop"), path of a TOML file, or a configuration,
        which is returned as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not TOML, holds an unknown key, or a value does not fit.
    """
    if isinstance(config, PretrainConfig):
        return config
    path = Path(config)
    if path.suffix != ".toml":
        path = CONFIG_FOLDER / f"{config}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIG_FOLDER.glob("*.toml")))
        raise FileNotFoundError(
            f"no configuration {str(config)!r}; known: {known}, or a .toml file."
        )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}.") from error
    return from_dict({"name": path.stem, **tree})


def from_dict(tree: Mapping[str, Any]) -> PretrainConfig:
    """Build a configuration from nested dicts, refusing unknown keys; the inverse of `to_dict`.

    Names of earlier versions are understood.
    """
    return _build(PretrainConfig, current_names(tree), "")


def _build(kind: type, tree: Mapping[str, Any], section: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ValueError(f"[{section}] must be a table of settings; got {tree!r}.")
    known = {f.name: f for f in fields(kind)}
    values = {}
    for key, value in tree.items():
        if key not in known:
            where = f" in [{section}]" if section else ""
            raise ValueError(f"unknown setting {key!r}{where}.{_close(key, _homes())}")
        if key in SECTIONS and not section:
            values[key] = _build(SECTIONS[key], value, key)
        else:
            values[key] = converted(key, value, _default(known[key]))
    return kind(**values)


def _default(setting: dataclasses.Field[Any]) -> Any:
    return setting.default


def _homes() -> dict[str, str]:
    """Say in which section each setting lives ("" for the top)."""
    homes = {f.name: "" for f in fields(PretrainConfig) if f.name not in SECTIONS}
    for section, kind in SECTIONS.items():
        homes.update({f.name: section for f in fields(kind)})
    return homes


def _close(key: str, homes: Mapping[str, str]) -> str:
    name = key.rpartition(".")[2]
    found = difflib.get_close_matches(name, homes, n=1, cutoff=0.5)
    if not found:
        return f" Known: {', '.join(sorted(homes))}."
    home = f" in [{homes[found[0]]}]" if homes[found[0]] else ""
    return f" Did you mean {found[0]!r}{home}?"
