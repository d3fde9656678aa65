"""Inside the batched probe: weights in one buffer, and one written-out step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

FEW_CLASSES = 32
"""Up to here softmax is done in passes over all rows: torch's own takes rows one by one."""


ALIGNED = 1024
"""Lengths of flat buffers are multiples of this. The optimizer rounds the last few numbers of a
length that does not fill its vectors otherwise, and a seed would depend on the company it is in."""


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


class Stepper:
    """Forward and backward of one step, written out, in buffers that are made once.

    Fresh memory for every product would cost more than the products.
    """

    def __init__(
        self,
        x: torch.Tensor,
        target: torch.Tensor,
        n_classes: int,
        low: Weights,
        gradient: Weights,
        batch_size: int,
    ) -> None:
        self.x, self.target, self.n_classes = x, target, n_classes
        self.low, self.gradient = low, gradient
        n_seeds, hidden_dim, n_outputs = low.all[2].shape
        size = self.batch_size = min(batch_size, len(x))
        self.rows = x.new_empty(n_seeds * size, x.shape[1])
        self.hidden = x.new_empty(n_seeds, size, hidden_dim)
        self.back = torch.empty_like(self.hidden)
        # The float32 product is several times slower on a transposed view than on a copy.
        self.turned = x.new_empty(n_seeds, hidden_dim, size) if x.dtype == torch.float32 else None
        self.out = x.new_empty(n_seeds, size, n_outputs)
        self.error = torch.empty_like(self.out)
        self.first = torch.arange(n_seeds * size, device=x.device) * n_outputs
        self.minus_one = x.new_full((n_seeds * size,), -1.0)
        self.loss = torch.full((n_seeds,), math.nan, device=x.device)

    def __call__(self, rows: torch.Tensor, *, with_loss: bool = True) -> None:
        """Fill the gradient from one batch, rows (S, B): summed over its rows, not averaged."""
        w1, b1, w2, b2 = self.low.all
        g1, gb1, g2, gb2 = self.gradient.all
        n_seeds, size = rows.shape
        torch.index_select(self.x, 0, rows.reshape(-1), out=self.rows)
        x = self.rows.view(n_seeds, size, -1)
        hidden = torch.baddbmm(b1, x, w1, out=self.hidden).relu_()
        torch.baddbmm(b2, hidden, w2, out=self.out)
        target = self.target[rows]
        if self.n_classes:
            self._chances()
            flat, true = self.error.view(-1), self.first + target.flatten()
            if with_loss:
                likely = flat[true].float().clamp_min_(1e-12)
                self.loss = -likely.log().view(n_seeds, size).mean(dim=1)
            # scatter_add would take a hundred times as long in bfloat16.
            flat.index_add_(0, true, self.minus_one)
        else:
            torch.sub(self.out, target[..., None].to(self.out), out=self.error)
            if with_loss:
                self.loss = self.error.float().square().mean(dim=(1, 2))
        turned = hidden.transpose(1, 2)
        turned = turned if self.turned is None else self.turned.copy_(turned)
        torch.bmm(turned, self.error, out=g2)
        torch.sum(self.error, 1, keepdim=True, out=gb2)
        torch.bmm(self.error, w2.transpose(1, 2), out=self.back)
        # The rectifier's own backward: comparing and multiplying would take two slow passes.
        torch.ops.aten.threshold_backward.grad_input(self.back, hidden, 0, grad_input=self.back)
        torch.bmm(x.transpose(1, 2), self.back, out=g1)
        torch.sum(self.back, 1, keepdim=True, out=gb1)

    def _chances(self) -> None:
        """Fill `error` with the softmax of the scores."""
        if self.n_classes > FEW_CLASSES:
            torch.softmax(self.out, -1, out=self.error)
            return
        scores = self.out.float()
        scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        torch.div(scores, scores.sum(-1, keepdim=True), out=scores)
        self.error.copy_(scores)
