"""Ridge regression in closed form, and what it errs by at rows it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-4, 11))
"""Ridge penalties that are tried: every one costs almost nothing."""


def ridge(x: torch.Tensor, y: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve ridge regression with an intercept that is not penalized.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Features.
    y : torch.Tensor, shape (N, C)
        Targets.
    penalty : float
        Added to the diagonal of XᵀX, as scikit-learn's alpha.

    Returns
    -------
    weight : torch.Tensor, shape (C, D)
    bias : torch.Tensor, shape (C,)

    References
    ----------
    Hoerl & Kennard (1970), "Ridge regression", Technometrics 12(1).
    """
    x64, y64 = x.double(), y.double()
    x_mean, y_mean = x64.mean(0), y64.mean(0)
    centered = x64 - x_mean
    gram = centered.T @ centered
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, centered.T @ (y64 - y_mean)).T
    return weight.to(x), (y_mean - weight @ x_mean).to(x)


def leave_one_out(x: torch.Tensor, y: torch.Tensor, penalties: Sequence[float]) -> torch.Tensor:
    """Compute the error of ridge regression at each row, fitted without that row.

    Few labels are too few to keep some for choosing a penalty; this uses every one.

    Parameters
    ----------
    x : torch.Tensor, shape (N, D)
        Features.
    y : torch.Tensor, shape (N,)
        Target.
    penalties : sequence of float
        P of them, as in `ridge`.

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
    centered, wanted = x64 - x64.mean(0), y64 - y64.mean()
    values, basis = torch.linalg.eigh(centered.T @ centered)
    rotated = centered @ basis
    shrink = values.clamp(min=0)[:, None] + torch.tensor(penalties).to(values)
    fitted = rotated @ ((rotated.T @ wanted)[:, None] / shrink)
    # How much of its own fit a row is; the mean takes one N-th.
    leverage = rotated.square() @ shrink.reciprocal() + 1.0 / len(x)
    residual = (wanted[:, None] - fitted) / (1.0 - leverage).clamp(min=1e-9)
    return residual.square().mean(0)
