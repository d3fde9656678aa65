"""The symmetric contrastive loss: in chunks, over all processes, with exact gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

SAFE_SCALE = 40.0
"""Up to this inverse temperature exp(logit - scale) is above exp(-81): no sum loses its digits, and
one exponential serves rows and columns. Beyond it both are reduced from their own maximum."""


def contrastive_loss(
    image_features: torch.Tensor,
    location_features: torch.Tensor,
    logit_scale: torch.Tensor,
    *,
    chunk_size: int = 512,
    matmul_dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Average the cross-entropies of images finding their locations and locations their images.

    The similarity matrix is never held whole: chunks of its rows are computed, reduced, and
    computed again for the gradient. Where several processes train together, each holds the rows of
    its own images against the locations of all, and the result is the loss of the whole batch.

    Parameters
    ----------
    image_features, location_features : torch.Tensor, shape (B, D)
        Normalized features of this process's pairs, row i with row i; float32.
    logit_scale : torch.Tensor, scalar
        Log of the inverse temperature.
    chunk_size : int
        Rows of the similarity matrix at a time.
    matmul_dtype : torch.dtype
        Arithmetic of the matrix products; sums are float32.

    Returns
    -------
    torch.Tensor, scalar
        The same on every process. Gradients are those of the loss times the number of processes,
        so that averaging them (as DistributedDataParallel does) gives the gradient of the loss.

    Raises
    ------
    ValueError
        If the two are not matrices of one shape.

    References
    ----------
    Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision",
    ICML, figure 3.
    """
    if image_features.ndim != 2 or image_features.shape != location_features.shape:
        raise ValueError(
            "image_features and location_features must both be (B, D); got "
            f"{tuple(image_features.shape)} and {tuple(location_features.shape)}."
        )
    return _ContrastiveLoss.apply(
        image_features, location_features, logit_scale, chunk_size, matmul_dtype
    )


class _ContrastiveLoss(torch.autograd.Function):
    """Rows are this process's images, columns everybody's locations."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        locations: torch.Tensor,
        logit_scale: torch.Tensor,
        chunk_size: int,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        rank, ranks = _rank()
        everybody = _gather(locations, ranks)
        scale = logit_scale.exp()
        safe = bool(scale <= SAFE_SCALE)  # once: a GPU has to be waited for
        rows, offset = len(images), rank * len(images)
        per_row = images.new_empty(rows)
        per_column = images.new_full((len(everybody),), -torch.inf)
        keys = everybody.to(dtype).T
        for start in range(0, rows, chunk_size):
            logits = _logits(images[start : start + chunk_size], keys, scale)
            row, column = _log_sum_exps(logits, scale, safe)
            per_row[start : start + chunk_size] = row
            per_column = torch.logaddexp(per_column, column)
        if ranks > 1:
            per_column = _gather(per_column[None], ranks).logsumexp(0)
        # Pairs are scored in the precision of the matrix, so that a loss cannot fall below zero.
        pairs = (images.to(dtype) * locations.to(dtype)).float().sum(1) * scale
        own = slice(offset, offset + rows)
        total = (per_row + per_column[own] - 2.0 * pairs).sum()
        if ranks > 1:
            dist.all_reduce(total)
        ctx.save_for_backward(images, everybody, logit_scale, per_row, per_column)
        ctx.settings = (chunk_size, dtype, rank, ranks, safe)
        return total / (2.0 * len(everybody))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        images, everybody, logit_scale, per_row, per_column = ctx.saved_tensors
        chunk_size, dtype, rank, ranks, safe = ctx.settings
        scale = logit_scale.exp()
        rows, offset = len(images), rank * len(images)
        for_images = torch.empty_like(images)
        for_locations = torch.zeros_like(everybody)
        low = everybody.to(dtype)
        for start in range(0, rows, chunk_size):
            chunk = images[start : start + chunk_size]
            logits = _logits(chunk, low.T, scale)
            slope = _slope(logits, per_row[start : start + chunk_size], per_column, scale, safe)
            slope.diagonal(offset + start).sub_(2.0)
            slope = slope.to(dtype)
            for_images[start : start + chunk_size] = (slope @ low).float() * scale
            for_locations += (slope.T @ chunk.to(dtype)).float() * scale
        factor = gradients[0] * ranks / (2.0 * len(everybody))
        for_scale = (for_images * images).sum()
        if ranks > 1:
            dist.all_reduce(for_locations)
        own = for_locations[offset : offset + rows]
        return for_images * factor, own * factor, for_scale * factor, None, None


def _logits(images: torch.Tensor, keys: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (images.to(keys.dtype) @ keys).float().mul_(scale)


def _log_sum_exps(
    logits: torch.Tensor, scale: torch.Tensor, safe: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reduce rows and columns; the logits are cosines times the scale."""
    if safe:
        shares = logits.sub_(scale).exp_()
        return shares.sum(1).log_().add_(scale), shares.sum(0).log_().add_(scale)
    return logits.logsumexp(1), logits.logsumexp(0)


def _slope(
    logits: torch.Tensor,
    per_row: torch.Tensor,
    per_column: torch.Tensor,
    scale: torch.Tensor,
    safe: bool,
) -> torch.Tensor:
    """Add the shares of every pair in its row and in its column."""
    if safe:
        inverse_row, inverse_column = (scale - per_row).exp(), (scale - per_column).exp()
        return logits.sub_(scale).exp_().mul_(inverse_row[:, None] + inverse_column)
    return (logits - per_row[:, None]).exp_().add_((logits - per_column).exp_())


def _rank() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _gather(tensor: torch.Tensor, ranks: int) -> torch.Tensor:
    """Concatenate a tensor of every process along the first axis, in order of rank."""
    if ranks == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(ranks)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
