"""Linear probes: ridge regression, Poisson regression, multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from satclip_explore.encoders.base import Readout
from satclip_explore.precision import fast_precision
from satclip_explore.progress import Cancel
from training.probes.base import (
    Probe,
    Step,
    check_settings,
    check_shapes,
    loss_per_seed,
    standardization,
)
from training.probes.closed_forms import discriminant, leave_one_out, poisson_ridge, ridge
from training.probes.data import TrainingData

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-4, 11))
"""Ridge penalties that are tried: every one costs almost nothing."""

MANY_CLASSES = 64
"""Above this, logistic regression is refined for a few rounds only from its closed-form start."""

MANY_ROUNDS = 5
"""How many: two steps of L-BFGS each."""


@dataclass(frozen=True)
class LinearSettings:
    """Settings of the linear probe.

    Parameters
    ----------
    penalty : float, optional
        Of the squared weights of standardized features. Default: for ridge and Poisson regression,
        chosen among 0.01 … 100,000; for logistic regression, 1.
    """

    penalty: float | None = None

    def __post_init__(self) -> None:
        check_settings(self, whole={}, real={"penalty": (1e-9, 1e12)})


class LinearProbe(Probe):
    """Ridge regression of values, Poisson regression of counts, logistic regression of classes.

    Nothing in it is random: weight (1, C, D) and bias (1, C) serve every seed. All rows train ridge
    and choose its penalty by leaving one place, or group, out. All train Poisson regression, whose
    penalty the valid rows choose; for logistic regression these choose when to stop. Its scores are
    one product with the embedding, so that a raster folds it into the encoder.
    """

    kind = "linear"
    takes_counts = True
    label = "linear"
    Settings = LinearSettings

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, settings: dict[str, Any]) -> None:
        self.weight, self.bias, self.settings = weight, bias, settings

    @classmethod
    def fit(
        cls,
        data: TrainingData,
        seeds: Sequence[int],
        settings: LinearSettings | None = None,
        *,
        on_step: Step | None = None,
        cancel: Cancel | None = None,
    ) -> LinearProbe:
        """Fit weights in closed form, or by L-BFGS; see `Probe.fit`."""
        del seeds
        penalty = (settings or LinearSettings()).penalty
        fitting = data.features[~data.valid] if data.n_classes else data.features
        mean, scale = standardization(fitting)
        x = (data.features - mean) / scale
        if data.n_classes:
            weight, bias, facts = _logistic(
                data, x, 1.0 if penalty is None else penalty, on_step, cancel
            )
        elif data.counted:
            weight, bias, facts = _poisson(data, x, penalty, on_step, cancel)
        else:
            penalties = PENALTIES if penalty is None else (penalty,)
            errors = leave_one_out(x, data.target, penalties, data.weights, data.group_codes)
            best = int(errors.argmin())
            weight, bias = ridge(x, data.target[:, None], penalties[best], data.weights)
            facts = {"solver": "ridge, closed form", "penalty": penalties[best]}
            if on_step is not None:
                train = ((x @ weight.T + bias)[:, 0] - data.target).square().mean()
                on_step(0, train[None].cpu(), errors[best : best + 1].float().cpu())
        weight = weight / scale
        return cls(weight[None], (bias - weight @ mean)[None], facts)

    def scores(self, features: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Score one chunk of places; see `Probe.scores`."""
        del vectors
        return (features.to(self.weight) @ self.weight[0].T + self.bias[0])[None]

    @property
    def n_features(self) -> int:
        """Length D of the embeddings it takes."""
        return self.weight.shape[2]

    @property
    def n_scores(self) -> int:
        """Classes, or 1."""
        return self.bias.numel()

    @property
    def readout(self) -> Readout:
        """The whole probe, as a linear map."""
        return Readout(self.weight[0].double().cpu().numpy(), self.bias[0].double().cpu().numpy())

    def finish(self, folded: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return the folded scores as those of one seed."""
        del vectors
        return folded[None]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight and bias."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any], n_classes: int
    ) -> Self:
        """Build the probe from the content of a file; see `Probe.from_tensors`."""
        n_outputs = n_classes or 1
        check_shapes(tensors, {"weight": (1, n_outputs, -1), "bias": (1, n_outputs)})
        return cls(tensors["weight"], tensors["bias"], dict(settings))

    def to(self, device: torch.device) -> Self:
        """Return the same probe on a device."""
        return type(self)(self.weight.to(device), self.bias.to(device), self.settings)


def _poisson(
    data: TrainingData,
    x: torch.Tensor,
    penalty: float | None,
    on_step: Step | None,
    cancel: Cancel | None,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Choose a penalty by the deviance of the valid rows, and fit all rows with it.

    Where all counts but those of valid rows are 0, there is nothing to choose by: the largest is
    taken.
    """
    fitting, valid = data.part(~data.valid), data.part(data.valid)
    some = bool((fitting.target > 0).any())
    best, chosen = float("inf"), PENALTIES[-1] if penalty is None else penalty
    # Whole powers of ten: each takes some ten ridge regressions.
    for step, tried in enumerate(PENALTIES[::2] if penalty is None and some else ()):
        weight, bias = poisson_ridge(x[~data.valid], fitting.target, tried, fitting.weights)
        train, error = (
            loss_per_seed(
                (x[rows] @ weight.T + bias)[None], part.target, 0, part.weights, counted=True
            )
            for rows, part in ((~data.valid, fitting), (data.valid, valid))
        )
        if on_step is not None:
            on_step(step, train.cpu(), error.cpu())
        if float(error) < best:
            best, chosen = float(error), tried
        if cancel is not None and cancel.is_set():
            break
    weight, bias = poisson_ridge(x, data.target, chosen, data.weights)
    facts = {"solver": "Poisson, reweighted least squares", "penalty": chosen}
    if penalty is None and not some:
        facts["penalty_chosen_by"] = "nothing: the rows that fit are all 0, so the largest is taken"
    return weight, bias, facts


def _logistic(
    data: TrainingData,
    x: torch.Tensor,
    penalty: float,
    on_step: Step | None,
    cancel: Cancel | None,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Refine the discriminant by L-BFGS on the training rows; keep the best on the valid ones."""
    fit_x, target = x[~data.valid], data.target[~data.valid]
    valid_x, valid_target = x[data.valid], data.target[data.valid]
    valid_weights = None if data.weights is None else data.weights[data.valid]
    fit_weights = None if data.weights is None else data.weights[~data.valid]
    weight, bias = discriminant(fit_x, target, data.n_classes, weights=fit_weights)
    # Discriminants are sure of themselves; one number makes them fit the labels.
    logits = valid_x @ weight.T + bias
    factors = [1.0, 0.5, 0.25, 0.12, 0.06, 0.03]
    losses = [
        float(loss_per_seed((logits * f)[None], valid_target, data.n_classes, valid_weights))
        for f in factors
    ]
    factor = factors[losses.index(min(losses))]
    weight, bias = weight * factor, bias * factor
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    rounds, steps = (MANY_ROUNDS, 2) if data.n_classes > MANY_CLASSES else (100, 5)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )
    closure = _Objective(fit_x, target, weight, bias, penalty, fit_weights)
    best, kept, done = float("inf"), (weight.detach().clone(), bias.detach().clone()), 0
    for done in range(rounds + 1):
        with torch.no_grad():
            scores = (valid_x @ weight.T + bias)[None]
            valid = loss_per_seed(scores, valid_target, data.n_classes, valid_weights)
        if on_step is not None:
            on_step(done, closure.loss.clone(), valid.cpu())
        improved = best - float(valid)
        if improved > 0:
            best, kept = float(valid), (weight.detach().clone(), bias.detach().clone())
        if improved < 1e-4 or done == rounds or (cancel is not None and cancel.is_set()):
            break
        optimizer.step(closure)
    facts = {"solver": "logistic, L-BFGS from a discriminant", "penalty": penalty, "rounds": done}
    return *kept, facts


class _Objective:
    """Penalized cross-entropy and its gradient, written out, in buffers that are made once."""

    def __init__(
        self,
        x: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        penalty: float,
        weights: torch.Tensor | None,
    ) -> None:
        many = len(bias) > MANY_CLASSES
        fast = many and fast_precision(str(x.device)) == "bfloat16"
        self.x = x.bfloat16() if fast else x
        self.target, self.weight, self.bias = target[:, None], weight, bias
        self.penalty = penalty / len(x)
        self.counts = None if weights is None else weights[:, None]
        self.logits = self.x.new_empty(len(x), len(bias))
        self.chances = x.new_empty(len(x), len(bias))
        self.loss = torch.full((1,), torch.nan)

    @torch.no_grad()
    def __call__(self) -> torch.Tensor:
        weight = self.weight.to(self.x)
        torch.addmm(self.bias.to(self.x), self.x, weight.T, out=self.logits)
        torch.softmax(self.logits, 1, dtype=torch.float32, out=self.chances)
        likely = self.chances.gather(1, self.target).clamp_min_(1e-30)
        self.chances.scatter_add_(1, self.target, torch.full_like(likely, -1.0))
        log_likely = likely.log()
        if self.counts is not None:
            self.chances.mul_(self.counts)
            log_likely.mul_(self.counts)
        self.logits.copy_(self.chances)
        share = 1.0 / len(self.x)
        assert self.weight.grad is not None
        assert self.bias.grad is not None
        self.weight.grad.copy_(self.logits.T @ self.x).mul_(share)
        self.weight.grad.add_(self.weight, alpha=self.penalty)
        torch.sum(self.chances, 0, out=self.bias.grad).mul_(share)
        loss = -log_likely.mean() + 0.5 * self.penalty * self.weight.square().sum()
        self.loss = loss[None].cpu()
        return loss
