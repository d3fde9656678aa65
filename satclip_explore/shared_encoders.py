"""Encoders that a whole process loads once: by name, and at the months and years asked for."""

from __future__ import annotations

from typing import Any

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.store import RESULTS
from satclip_explore.times import at_time, chosen_time


def load_once(name: str) -> Any:
    """Load an encoder by its name; the same weights are one object in the whole process."""

    def load() -> Any:
        encoder = load_encoder(name)
        # Without a hash nothing says that two are the same.
        return one_of(encoder) if encoder.weights_hash else encoder

    return RESULTS.get(("encoder", name), load)


def one_of(encoder: Any) -> Any:
    """Return the object that this process has for the weights of an encoder."""
    return RESULTS.get(("weights", encoder), lambda: encoder)


def time_text(encoder: Any) -> str:
    """Write the month or year that an encoder was loaded with; empty where it was with none."""
    chosen = chosen_time(encoder)
    return "" if chosen is None else str(chosen)


def load_at(encoder: Any, text: str) -> Any:
    """Return an encoder at a time that was written by `time_text`, or came in an address.

    Raises
    ------
    ValueError
        If the encoder has no such time.
    """
    if text == time_text(encoder):
        return encoder
    steps = {str(step): step for step in (encoder.times.steps if encoder.times else ())}
    if text and text not in steps:
        offered = f"it has {', '.join(steps)}" if steps else "it is the same at all times"
        raise ValueError(f"{encoder.name} has no {text!r:.20}: {offered}.")
    return RESULTS.get(("at", encoder, text), lambda: at_time(encoder, steps.get(text)))
