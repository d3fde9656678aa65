"""A running batch of probes: weights, their optimizer, and the order of rows of every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import cross_entropy
from torch.optim.adamw import adamw

from training.probes.base import check_settings, poisson_deviance

PRECISIONS = ("auto", "float32", "bfloat16")

ALIGNED = 1024
"""Lengths of flat buffers are multiples of this. The optimizer rounds the last few numbers of a
length that does not fill its vectors otherwise, and a seed would depend on the company it is in."""


@dataclass(frozen=True)
class MLPSettings:
    """How the probe with a hidden layer is trained.

    Parameters
    ----------
    hidden_dim : int
        Units of the hidden layer.
    steps : int, optional
        Steps at most; default 400 for many hundred classes up to 1,000 for few.
    batch_size : int
        Rows per step and seed.
    learning_rate : float
        Peak of a warm-up and cosine schedule.
    weight_decay : float, optional
        Of AdamW, decoupled; default a thousandth per feature, at most 0.3.
    patience : int
        Validations (ten in a run, at least) of clearly more errors than the fewest, before a seed
        ends: more by the standard error of these.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the products; weights, sums and losses stay float32. "auto" measures.
    """

    hidden_dim: int = 128
    steps: int | None = None
    batch_size: int = 256
    learning_rate: float = 2e-2
    weight_decay: float | None = None
    patience: int = 8
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_settings(
            self,
            whole={
                "hidden_dim": (1, 16_384),
                "steps": (1, 1_000_000),
                "batch_size": (1, 1_000_000),
                "patience": (1, 1_000_000),
            },
            real={"learning_rate": (1e-9, 10.0), "weight_decay": (0.0, 1e6)},
        )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r:.40}."
            )

    def completed(self, n_features: int, n_outputs: int) -> MLPSettings:
        """Return the same settings, with numbers for those that depend on the task."""
        steps, decay = self.steps, self.weight_decay
        return replace(
            self,
            steps=default_steps(n_outputs) if steps is None else steps,
            # Embeddings have many ways to fit few labels; two coordinates have none to spare.
            weight_decay=min(0.3, 1e-3 * n_features) if decay is None else decay,
        )


def default_steps(n_outputs: int) -> int:
    """Return the steps that keep the cost of many classes in bounds."""
    return min(1000, max(400, 300_000 // (n_outputs + 64)))


class Weights:
    """Views of one flat buffer, ordered by layer and then by seed: one update for everything."""

    def __init__(self, flat: torch.Tensor, n_seeds: int, sizes: tuple[int, int, int]) -> None:
        inputs, hidden, outputs = sizes
        shapes = [(inputs, hidden), (1, hidden), (hidden, outputs), (1, outputs)]
        lengths = [n_seeds * a * b for a, b in shapes]
        parts = flat[: sum(lengths)].split(lengths)
        self.flat, self.n_seeds, self.sizes = flat, n_seeds, sizes
        self.all = [part.view(n_seeds, *s) for part, s in zip(parts, shapes, strict=True)]

    def of(self, seeds: torch.Tensor) -> Weights:
        """Copy the weights of some seeds, given as positions."""
        chosen = Weights(
            self.flat.new_zeros(buffer_length(len(seeds), self.sizes)), len(seeds), self.sizes
        )
        for part, mine in zip(chosen.all, self.all, strict=True):
            torch.index_select(mine, 0, seeds.to(mine.device), out=part)
        return chosen

    def put(self, seeds: Sequence[int], others: Weights, theirs: Sequence[int]) -> None:
        """Overwrite the weights of some seeds by those of others; both are given as positions."""
        for mine, given in zip(self.all, others.all, strict=True):
            for k, j in zip(seeds, theirs, strict=True):
                mine[k].copy_(given[j])


def buffer_length(n_seeds: int, sizes: tuple[int, int, int]) -> int:
    """Return the length of the flat buffer."""
    inputs, hidden, outputs = sizes
    used = n_seeds * (inputs * hidden + hidden + hidden * outputs + outputs)
    return -(-used // ALIGNED) * ALIGNED


def first_weights(
    generators: Sequence[torch.Generator], sizes: tuple[int, int, int]
) -> torch.Tensor:
    """Draw first weights (He et al. 2015) of every seed into one flat buffer."""
    inputs, hidden, _ = sizes
    weights = Weights(torch.zeros(buffer_length(len(generators), sizes)), len(generators), sizes)
    for k, generator in enumerate(generators):
        for part, deviation in (
            (weights.all[0], math.sqrt(2.0 / inputs)),
            (weights.all[1], 0.5),
            (weights.all[2], 0.5 / math.sqrt(hidden)),
        ):
            part[k] = torch.randn(part.shape[1:], generator=generator) * deviation
    return weights.flat


def forward(low: Weights, x: torch.Tensor) -> torch.Tensor:
    """Return scores of every seed, (S, N, C), for the same features, (N, D)."""
    w1, b1, w2, b2 = low.all
    return torch.baddbmm(b2, torch.baddbmm(b1, x.expand(len(w1), *x.shape), w1).relu_(), w2)


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
        Class codes, standardized values, or counts.
    n_classes : int
        0 for values and counts.
    seeds : sequence of int
        One probe each.
    settings : MLPSettings
        Completed: its `steps` and `weight_decay` are numbers.
    counts : torch.Tensor, shape (N,), optional
        How much each row counts, 1 on average.
    counted : bool
        The target is a count.
    """

    def __init__(
        self,
        x: torch.Tensor,
        target: torch.Tensor,
        n_classes: int,
        seeds: Sequence[int],
        settings: MLPSettings,
        counts: torch.Tensor | None = None,
        counted: bool = False,
    ) -> None:
        self.counted = counted
        self.x, self.target, self.n_classes, self.settings = x, target, n_classes, settings
        self.counts = None if counts is None else counts.to(x.dtype)
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        sizes = (x.shape[1], settings.hidden_dim, n_classes or 1)
        # In blocks of seeds' own draws: a seed sees the same numbers whatever company it is in.
        flat = first_weights(generators, sizes).to(x.device)
        empty = [Weights(torch.zeros_like(flat), len(seeds), sizes) for _ in range(2)]
        self.batches = Batches(len(x), min(settings.batch_size, len(x)), generators)
        self._begin(Weights(flat, len(seeds), sizes), (empty[0], empty[1]))

    def _begin(self, weights: Weights, means: tuple[Weights, Weights], count: float = 0.0) -> None:
        """Make the buffers for some weights, the running means of their gradients and squares."""
        self.weights, self.means = weights, means
        self.count = torch.tensor(count, device=weights.flat.device)
        n_seeds, sizes = weights.n_seeds, weights.sizes
        same = self.x.dtype == weights.flat.dtype
        self.low = weights if same else Weights(weights.flat.to(self.x.dtype), n_seeds, sizes)
        self.gradient = Weights(torch.zeros_like(weights.flat), n_seeds, sizes)
        self.loss = torch.full((n_seeds,), math.nan, device=self.x.device)

    def step(self, step: int) -> None:
        """Take one step; `loss` becomes that of each seed in this batch, shape (S,)."""
        steps, decay = self.settings.steps, self.settings.weight_decay
        assert steps is not None
        assert decay is not None
        self._differentiate(self.batches.next().to(self.x.device))
        # The function, not the class: making an AdamW imports a compiler, for over a second.
        adamw(
            [self.weights.flat],
            [self.gradient.flat],
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
            eps=1e-8 * self.batches.size,
            maximize=False,
        )
        if self.low is not self.weights:
            self.low.flat.copy_(self.weights.flat)

    def _differentiate(self, rows: torch.Tensor) -> None:
        """Fill the gradient from one batch, rows (S, B): summed over its rows, not averaged."""
        target = self.target[rows]
        parts = [part.detach().requires_grad_() for part in self.low.all]
        w1, b1, w2, b2 = parts
        with torch.enable_grad():
            hidden = torch.baddbmm(b1, self.x[rows], w1).relu()
            scores = torch.baddbmm(b2, hidden, w2).float()
            if self.n_classes:
                each = cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none")
                losses = each.view(target.shape)
            elif self.counted:
                losses = 0.5 * poisson_deviance(scores[..., 0], target)
            else:
                losses = 0.5 * (scores[..., 0] - target).square()
            counts = torch.ones_like(losses) if self.counts is None else self.counts[rows].float()
            losses = losses * counts
            slopes = torch.autograd.grad(losses.sum(), parts)
        for part, slope in zip(self.gradient.all, slopes, strict=True):
            part.copy_(slope)
        # Reported are the squared error and the deviance, twice what is differentiated.
        factor = 1.0 if self.n_classes else 2.0
        self.loss = factor * losses.detach().sum(1) / counts.sum(1)

    def keep(self, seeds: torch.Tensor) -> None:
        """Go on with some seeds, given as positions: those that have given up cost nothing more."""
        means = (self.means[0].of(seeds), self.means[1].of(seeds))
        self._begin(self.weights.of(seeds), means, float(self.count))
        self.batches.keep(seeds)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
