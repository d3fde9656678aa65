"""A running batch of probes: weights, their optimizer, and the order of rows of every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.optim.adamw import adamw

from training.mlp_step import Stepper, Weights, first_weights

if TYPE_CHECKING:
    from training.mlp import MLPSettings

WARM_UP = 20
"""Steps over which the learning rate rises."""


class Batches:
    """Rows of the next batch of every seed, (S, B): each seed in its own order."""

    def __init__(self, n_rows: int, size: int, generators: Sequence[torch.Generator]) -> None:
        self.n_rows, self.size, self.generators = n_rows, size, generators
        self.start = n_rows
        self.order = torch.empty(len(generators), 0, dtype=torch.int64)

    def next(self) -> torch.Tensor:
        """Return the row numbers of the next batch."""
        if self.start + self.size > self.n_rows:
            self.order = torch.stack(
                [torch.randperm(self.n_rows, generator=each) for each in self.generators]
            )
            self.start = 0
        rows = self.order[:, self.start : self.start + self.size]
        self.start += self.size
        return rows

    def keep(self, seeds: torch.Tensor) -> None:
        """Go on with some seeds, given as positions; they see the rows they would have seen."""
        self.generators = [self.generators[k] for k in seeds.tolist()]
        self.order = self.order[seeds.cpu()]


class Run:
    """The probes that are still training.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Standardized features, in the type of the products.
    target : torch.Tensor, shape (N,)
        Class codes or standardized values.
    n_classes : int
        0 for regression.
    seeds : sequence of int
        One probe each.
    settings : MLPSettings
        Completed: its `steps` and `weight_decay` are numbers.
    """

    def __init__(
        self,
        x: torch.Tensor,
        target: torch.Tensor,
        n_classes: int,
        seeds: Sequence[int],
        settings: MLPSettings,
    ) -> None:
        self.x, self.target, self.n_classes, self.settings = x, target, n_classes, settings
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        sizes = (x.shape[1], settings.hidden_dim, n_classes or 1)
        # In blocks of seeds' own draws: a seed sees the same numbers whatever company it is in.
        flat = first_weights(generators, sizes).to(x.device)
        empty = [Weights(torch.zeros_like(flat), len(seeds), sizes) for _ in range(2)]
        self._begin(Weights(flat, len(seeds), sizes), (empty[0], empty[1]))
        self.batches = Batches(len(x), self.step_of.batch_size, generators)

    def _begin(self, weights: Weights, means: tuple[Weights, Weights], count: float = 0.0) -> None:
        """Make the buffers for some weights, the running means of their gradients and squares."""
        self.weights, self.means = weights, means
        self.count = torch.tensor(count, device=weights.flat.device)
        n_seeds, sizes = weights.n_seeds, weights.sizes
        same = self.x.dtype == weights.flat.dtype
        self.low = weights if same else Weights(weights.flat.to(self.x.dtype), n_seeds, sizes)
        self.gradient = Weights(torch.zeros_like(self.low.flat), n_seeds, sizes)
        self.slope = self.gradient.flat if same else torch.zeros_like(weights.flat)
        self.step_of = Stepper(
            self.x, self.target, self.n_classes, self.low, self.gradient, self.settings.batch_size
        )

    def step(self, step: int, *, with_loss: bool) -> None:
        """Take one step; `with_loss` fills `loss` on the way."""
        steps, decay = self.settings.steps, self.settings.weight_decay
        assert steps is not None
        assert decay is not None
        self.step_of(self.batches.next().to(self.x.device), with_loss=with_loss)
        if self.slope is not self.gradient.flat:
            self.slope.copy_(self.gradient.flat)
        # The function, not the class: making an AdamW imports a compiler, for over a second.
        adamw(
            [self.weights.flat],
            [self.slope],
            [self.means[0].flat],
            [self.means[1].flat],
            [],
            [self.count],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.99,
            lr=self.settings.learning_rate * schedule(step, steps),
            weight_decay=decay,
            # Gradients are summed over the batch: this is 1e-8 for their mean.
            eps=1e-8 * self.step_of.batch_size,
            maximize=False,
        )
        if self.low is not self.weights:
            self.low.flat.copy_(self.weights.flat)

    @property
    def loss(self) -> torch.Tensor:
        """Training loss of each seed in its last batch, shape (S,)."""
        return self.step_of.loss

    def keep(self, seeds: torch.Tensor) -> None:
        """Go on with some seeds, given as positions: those that have given up cost nothing more."""
        means = (self.means[0].of(seeds), self.means[1].of(seeds))
        self._begin(self.weights.of(seeds), means, float(self.count))
        self.batches.keep(seeds)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
