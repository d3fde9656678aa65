"""The probe of the notebook that SatCLIP's authors publish, trained as it is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from satclip_explore.progress import Cancel
from training.probes.base import Step, check_settings, check_shapes, loss_per_seed
from training.probes.data import TrainingData
from training.probes.mlp import MLPProbe

MAX_REPEATS = 100
"""More passes than this are not read from a file, which could ask for any number of them."""


@dataclass(frozen=True)
class FullBatchMLPSettings:
    """Settings of the published notebook.

    Parameters
    ----------
    hidden_dim : int
        Units of every hidden layer.
    repeats : int
        How often the second hidden layer is passed: the notebook repeats one layer, weights and
        all, where two were meant.
    steps : int
        Steps, each over all training rows.
    learning_rate : float
        Of Adam, constant.
    """

    hidden_dim: int = 64
    repeats: int = 2
    steps: int = 3000
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_settings(
            self,
            whole={"hidden_dim": (1, 16_384), "repeats": (0, MAX_REPEATS), "steps": (1, 1_000_000)},
            real={"learning_rate": (1e-9, 10.0)},
        )


NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")

REPORTS = 50
"""How often the losses of a run are reported, at least."""


class FullBatchMLPProbe(MLPProbe):
    """Hidden layers w1, b1 and w2, b2, and outputs w3, b3, for S seeds, as in the notebook.

    Embeddings are taken as they are, and the training targets are scaled to 0 … 1. Every training
    row is in every batch; none is kept for validation, and nothing stops early. First weights are
    those of `torch.nn.Linear` under `torch.manual_seed` of each seed.

    Notes
    -----
    The notebook divides temperatures by their maximum, over test places too. Scaled to 0 … 1, other
    units and a large mean make no difference. Classes, by cross-entropy, are our addition.

    References
    ----------
    microsoft/satclip, notebooks/B01_Example_Air_Temperature_Prediction.ipynb.
    """

    kind = "full-batch-mlp"
    takes_counts = False
    label = "full-batch MLP, as published"
    Settings = FullBatchMLPSettings

    def __init__(self, weights: Sequence[torch.Tensor], settings: dict[str, Any]) -> None:
        super().__init__(weights[:4], settings)
        self.w3, self.b3 = weights[4:]

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: Any = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> Self:
        """Train all seeds together; see `Probe.fit`. KeyboardInterrupt ends it as `cancel` does."""
        settings = settings or FullBatchMLPSettings()
        hidden = settings.hidden_dim
        sizes = [(data.features.shape[1], hidden), (hidden, hidden), (hidden, data.n_outputs)]
        weights = [part.to(data.features.device) for part in first_weights(seeds, sizes)]
        probe = cls([part.requires_grad_() for part in weights], asdict(settings))
        target = data.target
        if not data.n_classes:
            least, most = target.min(), target.max()
            target = (target - least) / (most - least)
        optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
        every = max(1, settings.steps // REPORTS)
        nothing = torch.full((len(seeds),), math.nan)
        done = 0
        with suppress(KeyboardInterrupt):
            for done in range(1, settings.steps + 1):
                loss = loss_per_seed(
                    probe.scores(data.features, data.vectors), target, data.n_classes, data.weights
                )
                optimizer.zero_grad()
                # Seeds share no weight: the gradient of the sum holds that of each.
                loss.sum().backward()
                optimizer.step()
                if on_step is not None and (done % every == 0 or done == settings.steps):
                    on_step(done, loss.detach().cpu(), nothing)
                if cancel is not None and cancel.is_set():
                    break
        trained = [part.detach() for part in weights]
        if not data.n_classes:
            trained[4] = trained[4] * (most - least)
            trained[5] = trained[5] * (most - least) + least
        return cls(trained, asdict(settings) | {"stopped_at": done})

    @classmethod
    def alternatives(cls, settings: Any) -> dict[str, Sequence[Any]]:
        """Return none: it is published with its settings, and keeps no rows to choose others."""
        del settings
        return {}

    def _from_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores from the first hidden layer before its rectifier, (S, N, H)."""
        for _ in range(self.settings["repeats"]):
            hidden = torch.baddbmm(self.b2, hidden.relu(), self.w2)
        return torch.baddbmm(self.b3, hidden.relu(), self.w3)

    @property
    def n_scores(self) -> int:
        """Seeds times the most numbers that a layer gives."""
        return max(self.b2.numel(), self.b3.numel())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the six weights."""
        return {name: getattr(self, name) for name in NAMES}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], n_classes: int
    ) -> Self:
        """Build the probe from the content of a file; see `Probe.from_tensors`."""
        check_shapes(tensors, {"w1": (-1, -1, -1)})
        seeds, _, hidden = tensors["w1"].shape
        n_outputs, repeats = n_classes or 1, settings["repeats"]
        check_shapes(
            tensors,
            {
                "b1": (seeds, 1, hidden),
                "w2": (seeds, hidden, hidden),
                "b2": (seeds, 1, hidden),
                "w3": (seeds, hidden, n_outputs),
                "b3": (seeds, 1, n_outputs),
            },
        )
        if not isinstance(repeats, int) or not 0 <= repeats <= MAX_REPEATS:
            raise ValueError(f"repeats must lie in 0 … {MAX_REPEATS}; got {repeats!r:.40}.")
        return cls([tensors[name] for name in NAMES], dict(settings))


def first_weights(seeds: Sequence[int], sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """Draw weights (S, inputs, outputs) and biases (S, 1, outputs) of each layer, by turns.

    A seed sees the numbers that `torch.nn.Linear` draws, layer after layer, for that seed.
    """
    drawn: list[list[torch.Tensor]] = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(seed))
        parts = []
        for inputs, outputs in sizes:
            bound = 1.0 / math.sqrt(inputs)
            for shape in ((outputs, inputs), (outputs, 1)):
                parts.append(torch.empty(shape).uniform_(-bound, bound, generator=generator).T)
        drawn.append(parts)
    return [torch.stack(parts).contiguous() for parts in zip(*drawn, strict=True)]
