"""Linear models in closed form: ridge regression and what is made of it, the discriminant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from training.probes.data import LARGEST_LOG_RATE

MAX_REWEIGHTED = 50
"""Steps of Poisson regression, at most; ten are usual."""


def ridge(
    x: torch.Tensor, y: torch.Tensor, penalty: float, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve ridge regression with an intercept that is not penalized.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Features.
    y : torch.Tensor, shape (N, C)
        Targets.
    penalty : float
        Added to the diagonal of XᵀX, as scikit-learn's alpha.
    weights : torch.Tensor, shape (N,), optional
        How much each row counts, as scikit-learn's sample_weight.

    Returns
    -------
    weight : torch.Tensor, shape (C, D)
    bias : torch.Tensor, shape (C,)

    References
    ----------
    Hoerl & Kennard (1970), "Ridge regression", Technometrics 12(1).
    """
    x64, y64 = x.double(), y.double()
    counts = torch.ones_like(x64[:, :1]) if weights is None else weights.double()[:, None]
    total = counts.sum()
    x_mean, y_mean = (counts * x64).sum(0) / total, (counts * y64).sum(0) / total
    centered = x64 - x_mean
    turned = (counts * centered).T
    gram = turned @ centered
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, turned @ (y64 - y_mean)).T
    return weight.to(x), (y_mean - weight @ x_mean).to(x)


def leave_one_out(
    x: torch.Tensor,
    y: torch.Tensor,
    penalties: Sequence[float],
    weights: torch.Tensor | None = None,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the error of ridge regression at each row, fitted without that row or its group.

    Few labels are too few to keep some for choosing a penalty; this uses every one.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Features.
    y : torch.Tensor, shape (N,)
        Target.
    penalties : sequence of float
        P of them, as in `ridge`.
    weights : torch.Tensor, shape (N,), optional
        As in `ridge`; errors count by them too.
    groups : torch.Tensor, shape (N,), int64, optional
        Codes from 0, at least two, of rows that are left out together; default each row alone.

    Returns
    -------
    torch.Tensor, shape (P,), float64
        Mean squared errors, from one eigendecomposition.

    References
    ----------
    Allen (1974), "The relationship between variable selection and data augmentation and a method
    for prediction", Technometrics 16(1).
    """
    x64, y64 = x.double(), y.double()
    counts = torch.ones_like(y64) if weights is None else weights.double()
    share = counts / counts.sum()
    # Rows times the root of their weight are rows of ordinary least squares.
    root = counts.sqrt()
    centered, wanted = root[:, None] * (x64 - share @ x64), root * (y64 - share @ y64)
    values, basis = torch.linalg.eigh(centered.T @ centered)
    rotated = centered @ basis
    shrink = values.clamp(min=0)[:, None] + torch.tensor(penalties).to(values)
    fitted = rotated @ ((rotated.T @ wanted)[:, None] / shrink)
    # How much of its own fit a row is; the mean takes one N-th.
    leverage = rotated.square() @ shrink.reciprocal() + share[:, None]
    residual = wanted[:, None] - fitted
    error = residual / (1.0 - leverage).clamp(min=1e-9)
    # The mean is one more feature, which no penalty shrinks.
    design = torch.cat([rotated, root[:, None]], 1)
    shrink = torch.cat([shrink, counts.sum().expand(1, len(penalties))])
    for rows in _repeated(groups):
        for k, diagonal in enumerate(shrink.T):
            error[rows, k] = _without(design[rows], residual[rows, k], diagonal)
    return error.square().sum(0) / counts.sum()


def _repeated(groups: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """List the rows of groups of more than one, (G, M) for each size M."""
    if groups is None:
        return
    order = groups.argsort()
    size = groups.bincount()[groups][order]
    for rows in size[size > 1].unique().tolist():
        yield order[size == rows].view(-1, rows)


def _without(part: torch.Tensor, residual: torch.Tensor, shrink: torch.Tensor) -> torch.Tensor:
    """Turn residuals of a fit to all rows into those of fits without each group, shape (G, M).

    Parameters
    ----------
    part : torch.Tensor, shape (G, M, D)
        Rows of the groups, in the axes of the fit.
    residual : torch.Tensor, shape (G, M)
    shrink : torch.Tensor, shape (D,)
        Diagonal of the penalized XᵀX in these axes.
    """
    n_rows, width = part.shape[1:]
    if n_rows <= width:
        hat = (part / shrink) @ part.transpose(1, 2)
        return torch.linalg.solve((1.0 + 1e-9) * torch.eye(n_rows).to(hat) - hat, residual)
    # The same by Woodbury's identity: large groups need no matrix among their rows.
    rest = torch.diag(shrink) - part.transpose(1, 2) @ part
    turned = torch.linalg.solve(rest, (residual[:, None] @ part)[:, 0])
    return residual + (part @ turned[..., None])[..., 0]


def poisson_ridge(
    x: torch.Tensor, y: torch.Tensor, penalty: float, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve Poisson regression of counts, log link, with an intercept that is not penalized.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Features.
    y : torch.Tensor, shape (N,)
        Counts, or rates, not below 0 and not all 0.
    penalty : float
        Half of it times the squared weights joins the sum of half the deviances: N times
        scikit-learn's alpha.
    weights : torch.Tensor, shape (N,), optional
        How much each row counts.

    Returns
    -------
    weight : torch.Tensor, shape (1, D)
    bias : torch.Tensor, shape (1,)

    References
    ----------
    McCullagh & Nelder (1989), "Generalized Linear Models", 2.5: iteratively reweighted least
    squares; each step is a ridge regression.
    """
    x64, y64 = x.double(), y.double()
    counts = torch.ones_like(y64) if weights is None else weights.double()

    def loss(weight: torch.Tensor, bias: torch.Tensor) -> float:
        log_rate = x64 @ weight[0] + bias
        losses = counts * (log_rate.exp() - y64 * log_rate)
        return float(losses.sum() + 0.5 * penalty * weight.square().sum())

    weight = torch.zeros_like(x64[:1])
    bias = ((counts * y64).sum() / counts.sum()).log()[None]
    least = loss(weight, bias)
    for _ in range(MAX_REWEIGHTED):
        log_rate = (x64 @ weight[0] + bias).clamp(min=-LARGEST_LOG_RATE)
        rate = log_rate.exp()
        working = log_rate + (y64 - rate) / rate
        toward, base = ridge(x64, working[:, None], penalty, counts * rate)
        step, found = 1.0, math.inf
        # Far from the minimum a whole step may overshoot it.
        while not found < least and step > 1e-4:
            moved = weight + step * (toward - weight), bias + step * (base - bias)
            found, step = loss(*moved), 0.5 * step
        gain, tolerance = least - found, 1e-12 * (1.0 + abs(least))
        if gain > 0:
            (weight, bias), least = moved, found
        if not gain > tolerance:
            break
    return weight.to(x), bias.to(x)


def discriminant(
    x: torch.Tensor,
    target: torch.Tensor,
    n_classes: int,
    shrinkage: float = 0.05,
    weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve linear discriminant analysis: a closed form that many classes do not slow down.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Standardized features.
    target : torch.Tensor, shape (N,), int64
        Class codes.
    n_classes : int
        C; classes without a place get scores that never win.
    shrinkage : float
        Share of the identity in the pooled covariance.
    weights : torch.Tensor, shape (N,), optional
        How much each row counts, 1 on average.

    Returns
    -------
    weight : torch.Tensor, shape (C, D)
    bias : torch.Tensor, shape (C,)

    References
    ----------
    Friedman (1989), "Regularized Discriminant Analysis", JASA 84(405).
    """
    each = torch.ones_like(x[:, 0]) if weights is None else weights
    counts = torch.bincount(target, each, minlength=n_classes).to(x)
    sums = x.new_zeros(n_classes, x.shape[1]).index_add_(0, target, each[:, None] * x)
    means = sums / torch.where(counts > 0, counts, 1.0)[:, None]
    within = x - means[target]
    covariance = ((each[:, None] * within).T @ within / len(x)).mul_(1.0 - shrinkage)
    covariance.diagonal().add_(shrinkage)
    weight = torch.linalg.solve(covariance, means.T).T
    bias = torch.log((counts / len(x)).clamp(min=1e-8)) - 0.5 * (means * weight).sum(1)
    return weight, bias
