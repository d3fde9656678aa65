"""A probe with one hidden layer, for every seed at once: batched products in place of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from satclip_explore.encoders.base import resolve_dtype
from satclip_explore.projection import fast_precision
from training.heads import Cancel, Head, Step, TrainingData, loss_per_seed, standardization
from training.mlp_step import Batches, Stepper, Weights, first_weights, forward

WARM_UP = 20
"""Steps over which the learning rate rises."""


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
    weight_decay : float
        Of AdamW, decoupled.
    patience : int
        Validations (ten in a run, at least) without a better loss in any seed, before it ends.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the products; weights, sums and losses stay float32. "auto" measures.
    """

    hidden_dim: int = 128
    steps: int | None = None
    batch_size: int = 256
    learning_rate: float = 2e-2
    weight_decay: float = 1e-2
    patience: int = 8
    precision: str = "auto"


class MLPHead(Head):
    """Fitted weights of S seeds: w1 (S, D, H), b1 (S, 1, H), w2 (S, H, C), b2 (S, 1, C)."""

    kind = "mlp"

    def __init__(self, weights: Sequence[torch.Tensor], settings: dict[str, Any]) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights
        self.settings = settings

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer before its rectifier, shape (S, N, H)."""
        x = features.to(self.w1).expand(len(self.w1), *features.shape)
        return torch.baddbmm(self.b1, x, self.w1)

    def from_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores from what `hidden` gives."""
        return torch.baddbmm(self.b2, hidden.relu(), self.w2)

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Head.scores`."""
        del vectors
        return self.from_hidden(self.hidden(features))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the four weights."""
        return {"w1": self.w1, "b1": self.b1, "w2": self.w2, "b2": self.b2}

    def to(self, device: torch.device) -> MLPHead:
        """Return the same probe on a device."""
        return MLPHead([tensor.to(device) for tensor in self.tensors().values()], self.settings)


def default_steps(n_outputs: int) -> int:
    """Return the steps that keep the cost of many classes in bounds."""
    return min(1000, max(400, 300_000 // (n_outputs + 64)))


def fit_mlp(
    data: TrainingData,
    seeds: Sequence[int],
    settings: MLPSettings | None = None,
    *,
    on_step: Step | None = None,
    cancel: Cancel | None = None,
) -> MLPHead:
    """Train the probe for all seeds together.

    Parameters
    ----------
    data : TrainingData
        The rows marked valid stop the training and choose each seed's best weights.
    seeds : sequence of int
        One probe each: its first weights and the order of its rows come from its own generator,
        so that a seed gives the same probe alone or among others.
    settings : MLPSettings, optional
        Default: as published in `MLPSettings`.
    on_step : callable, optional
        Called at the start and at each validation.
    cancel : object with is_set(), optional
        Ends the training; so does KeyboardInterrupt. The best weights so far are kept.

    Returns
    -------
    MLPHead
        Takes embeddings as they are: the standardization is folded into its first layer.
    """
    settings = settings or MLPSettings()
    device = data.features.device
    if settings.precision == "auto":
        settings = replace(settings, precision=fast_precision(str(device)))
    steps = settings.steps or default_steps(data.n_outputs)
    settings = replace(settings, steps=steps)
    dtype = resolve_dtype(settings.precision)
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    mean, scale = standardization(fitting.features)
    fit_x = ((fitting.features - mean) / scale).to(dtype)
    valid_x = ((valid.features - mean) / scale).to(dtype)

    n_seeds, sizes = len(seeds), (fit_x.shape[1], settings.hidden_dim, data.n_outputs)
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    # In blocks of seeds' own draws: a seed sees the same numbers whatever company it is in.
    master = torch.nn.Parameter(first_weights(generators, sizes).to(device), requires_grad=False)
    weights = Weights(master.data, n_seeds, sizes)
    low = Weights(master.data.to(dtype), n_seeds, sizes)
    gradient = Weights(torch.zeros_like(low.flat), n_seeds, sizes)
    best = Weights(master.data.clone(), n_seeds, sizes)
    best_loss = torch.full((n_seeds,), math.inf, device=device)
    master.requires_grad_(True)
    master.grad = torch.zeros_like(master.data)
    optimizer = torch.optim.AdamW(
        [master],
        lr=torch.tensor(0.0),
        betas=(0.9, 0.99),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    step_of = Stepper(fit_x, fitting.target, data.n_classes, low, gradient, settings.batch_size)
    tenth = max(1, steps // 10)
    # A small task's epoch is a step or two: too few to tell whether anything changed.
    every = max(min(10, tenth), min(tenth, math.ceil(len(fit_x) / step_of.batch_size)))
    stale = torch.zeros(n_seeds, dtype=torch.int64, device=device)
    done = 0
    rows = Batches(len(fit_x), step_of.batch_size, generators)
    with suppress(KeyboardInterrupt), torch.no_grad():
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                loss = loss_per_seed(forward(low, valid_x), valid.target, data.n_classes)
                # A seed that has given up stays so: alone it would have ended here.
                better = (loss < best_loss) & (stale < settings.patience)
                for kept, now in zip(best.all, weights.all, strict=True):
                    kept[better] = now[better]
                best_loss = torch.where(better, loss, best_loss)
                stale = torch.where(better, 0, stale + 1)
                if on_step is not None:
                    train = step_of.loss if step else torch.full_like(loss, math.nan)
                    on_step(step, train.float().cpu(), loss.cpu())
                done = step
                if bool((stale >= settings.patience).all()):
                    break
            if step == steps or (cancel is not None and cancel.is_set()):
                break
            step_of(rows.next().to(device))
            master.grad.copy_(gradient.flat).mul_(1.0 / step_of.batch_size)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * _schedule(step, steps)
            optimizer.step()
            low.flat.copy_(master.data)
    w1, b1, w2, b2 = best.all
    w1 = w1 / scale[:, None]
    b1 = b1 - (mean @ w1)[:, None]
    facts = asdict(settings) | {"stopped_at": done}
    return MLPHead([part.detach().clone() for part in (w1, b1, w2, b2)], facts)


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
