"""AdamW over the parts of the model, and the course of its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch

from training.config import TrainingConfig
from training.model import ContrastiveModel


def rate_at(step: int, steps: int, training: TrainingConfig) -> float:
    """Return the learning rate of a step: a linear rise, then a cosine down to zero."""
    rise = max(1, round(training.warmup * steps))
    if step < rise:
        return training.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def make_optimizer(model: ContrastiveModel, training: TrainingConfig) -> torch.optim.Optimizer:
    """Make AdamW: the first layer has a rate of its own, the scale is never decayed."""
    first = list(model.network.layers[0].parameters())
    scale = model.logit_scale
    apart = {id(p) for p in [*first, scale]}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": first, "relative_rate": training.first_layer_rate},
        {"params": others, "relative_rate": 1.0},
    ]
    if scale.requires_grad:
        groups.append({"params": [scale], "relative_rate": 1.0, "weight_decay": 0.0})
    return torch.optim.AdamW(
        groups, lr=training.learning_rate, betas=(0.9, 0.98), weight_decay=training.weight_decay
    )
