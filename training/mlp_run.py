"""A running batch of probes: weights, their optimizer, and the order of rows of every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

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
        Its `steps` is a number.
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
        self._begin(Weights(flat, len(seeds), sizes))
        self.batches = Batches(len(x), self.step_of.batch_size, generators)

    def _begin(self, weights: Weights, state: dict[str, torch.Tensor] | None = None) -> None:
        self.weights = weights
        n_seeds, sizes = weights.n_seeds, weights.sizes
        master = torch.nn.Parameter(weights.flat)
        same = self.x.dtype == master.dtype
        self.low = weights if same else Weights(master.data.to(self.x.dtype), n_seeds, sizes)
        master.grad = torch.zeros_like(master.data)
        self.gradient = Weights(
            master.grad if same else torch.zeros_like(self.low.flat), n_seeds, sizes
        )
        self.step_of = Stepper(
            self.x, self.target, self.n_classes, self.low, self.gradient, self.settings.batch_size
        )
        self.optimizer = torch.optim.AdamW(
            [master],
            lr=torch.tensor(0.0),
            betas=(0.9, 0.99),
            # Gradients are summed over the batch: this is 1e-8 for their mean.
            eps=1e-8 * self.step_of.batch_size,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        if state is not None:
            self.optimizer.state[master] = state
        self.master = master

    def step(self, step: int, *, with_loss: bool) -> None:
        """Take one step; `with_loss` fills `loss` on the way."""
        steps = self.settings.steps
        assert steps is not None
        self.step_of(self.batches.next().to(self.x.device), with_loss=with_loss)
        if self.gradient.flat is not self.master.grad:
            assert self.master.grad is not None
            self.master.grad.copy_(self.gradient.flat)
        self.optimizer.param_groups[0]["lr"] = self.settings.learning_rate * schedule(step, steps)
        self.optimizer.step()
        if self.low is not self.weights:
            self.low.flat.copy_(self.master.data)

    @property
    def loss(self) -> torch.Tensor:
        """Training loss of each seed in its last batch, shape (S,)."""
        return self.step_of.loss

    def keep(self, seeds: torch.Tensor) -> None:
        """Go on with some seeds, given as positions: those that have given up cost nothing more."""
        state = dict(self.optimizer.state[self.master])
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                whole = Weights(state[name], self.weights.n_seeds, self.weights.sizes)
                state[name] = whole.of(seeds).flat
        self._begin(self.weights.of(seeds), state)
        self.batches.keep(seeds)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
