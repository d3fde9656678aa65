"""Pretrain a location encoder: from imagery to a folder that `load_encoder` opens."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from satclip_explore.errors import sentence
from satclip_explore.precision import fast_precision
from satclip_explore.progress import Cancel, Cancelled, Progress, interruptible
from training.imagery.cache import Features, cached_features
from training.pretraining.batches import PlacePairs
from training.pretraining.checkpoint import (
    STATE_FILE,
    RunFolder,
    check_description,
    check_settings,
    only_one,
    read_state,
)
from training.pretraining.config import PretrainConfig, load_config
from training.pretraining.console import OFFERS, Console
from training.pretraining.distributed import Processes, processes
from training.pretraining.extractors import open_extractor
from training.pretraining.loop import Loop
from training.pretraining.progress import Callback, TrainingProgress, with_events

__all__ = ["Cancelled", "TrainingProgress", "pretrain"]


@interruptible
def pretrain(
    config: str | Path | PretrainConfig = "laptop",
    *,
    data: str | Path | None = None,
    output: str | Path | None = None,
    cache: str | Path | None = None,
    on_progress: Callback | None = None,
    on_epoch: Callback | None = None,
    cancel: Cancel | None = None,
    fresh: bool = False,
    download: bool = False,
    **settings: Any,
) -> Path:
    """Train a location encoder against imagery.

    Calling it again with the same settings goes on where it stopped, at the last finished epoch,
    and ends in the same weights. An interrupt (Ctrl-C, a notebook's stop button) stops it after
    the step it is at; a second one stops it at once. The last checkpoint stays either way.

    Parameters
    ----------
    config : str, pathlib.Path or PretrainConfig
        A name in training/configs, a TOML file, or a configuration.
    data : str or pathlib.Path, optional
        Folder of the imagery; Blue Marble is found without, where it was downloaded before.
    output : str or pathlib.Path, optional
        Folder of the result; default runs/<name>.
    cache : str or pathlib.Path, optional
        Folder of the image features; default `features` beside the result.
    on_progress, on_epoch : callable, optional
        Called with a `TrainingProgress` after every step (or block of features) and every epoch.
    cancel : Cancel, optional
        Set it to stop; the last checkpoint stays.
    fresh : bool
        Start over, whatever the folder holds; it is kept until training begins.
    download : bool
        Whether Blue Marble (31.5 MB) and weights of the image encoder may be fetched.
    **settings
        Single settings, as in `epochs=2`.

    Returns
    -------
    RunFolder
        A path: the folder, with encoder.safetensors and config.json; `load_encoder` opens it.

    Raises
    ------
    Cancelled
        If it was stopped before the first epoch was finished.
    FileNotFoundError, ValueError
        If the imagery is missing or a setting does not fit.
    TypeError
        If a setting is unknown.
    OSError
        If the disk is full; what was computed stays.
    """
    chosen = load_config(config)
    chosen = chosen.replace(**settings) if settings else chosen
    folder = Path(output) if output is not None else Path("runs") / chosen.name
    cache = Path(cache) if cache is not None else folder.parent / "features"
    begun = not fresh
    with (
        processes(chosen.training.device, chosen.training.batch_size) as workers,
        ExitStack() as held,
    ):
        workers.after_first(lambda: held.enter_context(only_one(folder)))
        state = None if fresh else read_state(folder)
        chosen = _with_precision(chosen, state, folder, workers.device)
        try:
            features = _features(
                chosen, data, folder, state, cache, workers, on_progress, cancel, download
            )
            _tell(on_progress if workers.is_first else None, "preparing", chosen)
            pairs = PlacePairs(features, chosen, workers.device, workers.count)
            loop = Loop(
                chosen, pairs, features.groups, features.description, folder, workers, fresh=fresh
            )
            with with_events(chosen, folder, workers.is_first, on_progress, on_epoch) as callbacks:
                if fresh:
                    workers.after_first(lambda: (folder / STATE_FILE).unlink(missing_ok=True))
                begun = True
                loop.run(*callbacks, cancel)
        except (Cancelled, KeyboardInterrupt):
            if not (begun and (folder / STATE_FILE).is_file()):
                raise
    return RunFolder(folder)


def _features(
    config: PretrainConfig,
    data: str | Path | None,
    folder: Path,
    state: dict[str, Any] | None,
    cache: Path,
    workers: Processes,
    on_progress: Callback | None,
    cancel: Cancel | None,
    download: bool,
) -> Features:
    """Fill the cache in the first process, then open it in all."""

    def report(found: Progress) -> None:
        if on_progress is not None:
            on_progress(TrainingProgress(**asdict(found), epochs=config.training.epochs))

    def fill() -> Features:
        _tell(on_progress if workers.is_first else None, "imagery", config)
        extractor, description = open_extractor(
            config, data, device=workers.device, download=download and workers.is_first
        )
        if state is not None:
            check_description(state["description"], description, folder)
        with only_one(cache) if workers.is_first else nullcontext():
            return cached_features(
                extractor,
                description,
                cache,
                on_progress=report if workers.is_first else None,
                cancel=cancel,
            )

    features = workers.after_first(fill) or fill()
    if workers.is_first:
        unusable = int((~features.usable).sum())
        if unusable:
            warnings.warn(
                f"{unusable:,} of {len(features.usable):,} images are damaged, too small, or have "
                "pixels without a value; they are left out.",
                stacklevel=4,
            )
    return features


def _tell(on_progress: Callback | None, stage: str, config: PretrainConfig) -> None:
    """Report work that has no steps."""
    if on_progress is not None:
        on_progress(TrainingProgress(stage, epochs=config.training.epochs))


def _with_precision(
    config: PretrainConfig, state: dict[str, Any] | None, folder: Path, device: torch.device
) -> PretrainConfig:
    """Decide "auto", the way a run that is going on decided it.

    Other settings than workers of the run are refused here, before hours of features.
    """
    if config.training.precision == "auto":
        precision = state["config"]["training"]["precision"] if state else fast_precision(device)
        config = replace(config, training=replace(config.training, precision=precision))
    if state:
        check_settings(state["config"], config.to_dict(), folder)
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m training.pretrain", description="Pretrain a location encoder."
    )
    parser.add_argument("config", help="TOML file, or a name in training/configs")
    parser.add_argument("--data", help="folder of the imagery")
    parser.add_argument("--output", help="folder of the result; default runs/<name>")
    parser.add_argument("--cache", help="folder of the image features")
    parser.add_argument("--fresh", action="store_true", help="start over")
    parser.add_argument("--download", action="store_true", help="fetch weights that are missing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    given = parser.parse_args(arguments)
    console = Console()
    try:
        settings = dict(_setting(item) for item in given.settings)
        chosen = load_config(given.config).replace(**settings)
        folder = pretrain(
            chosen,
            data=given.data,
            output=given.output,
            cache=given.cache,
            fresh=given.fresh,
            download=given.download,
            on_progress=console.step,
            on_epoch=console.epoch,
        )
    except (ValueError, TypeError, OSError, ImportError) as error:
        console.clear()
        print(f"error: {sentence(error, OFFERS)}", file=sys.stderr)
        return 1
    except (Cancelled, KeyboardInterrupt) as stopped:
        console.clear()
        print(f"{str(stopped) or 'stopped.'} What was computed is kept.", file=sys.stderr)
        return 130
    console.end(folder, chosen.training.epochs)
    return 0


def _setting(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals:
        raise ValueError(f"--set takes KEY=VALUE; got {item!r}.")
    return key.strip(), value


if __name__ == "__main__":
    sys.exit(main())
