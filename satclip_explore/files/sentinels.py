"""Numbers that stand for a missing value, as -9999: told by how far they are from all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SENTINELS = np.array(
    [-9999, -9999.9, -9999.99, -999, -999.9, -999.99, -99, -99.9, -99999, -999999, -32768, -32767,
     -2147483648, -1e20, -1e30, -1e34, -3.4028234663852886e38, -1.7976931348623157e308, 999, 9999,
     99999, 999999, 9999.9, 999.9, 32767, 65535, 2147483647, 1e20, 1e30, 9.969209968386869e36,
     3.4028234663852886e38]
)  # fmt: skip
"""Numbers that files use for "no value"."""

FILL = 1e19
"""Sentinels from here on are nothing that was measured, even one alone."""


def find_sentinels(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], list[float], list[float]]:
    """Find numbers that stand for a missing value: far from all others, and known as such.

    Returns
    -------
    mask : numpy.ndarray, shape (N,), bool
        Where they are.
    taken, kept : list of float
        Which were taken for missing, and which occur but may be values.
    """
    mask = np.zeros(len(values), dtype=bool)
    taken: list[float] = []
    while True:
        rest = values[np.isfinite(values) & ~mask]
        ends = {float(rest.min()), float(rest.max())} if len(rest) else set()
        candidates = [end for end in ends if np.isclose(end, SENTINELS, rtol=1e-6, atol=0).any()]
        found = [end for end in candidates if _stands_apart(end, rest)]
        if not found:
            return mask, taken, candidates if len(rest) and (rest != rest[0]).any() else []
        for end in found:
            mask |= values == end
            taken.append(end)


def _stands_apart(end: float, rest: NDArray[np.float64]) -> bool:
    others = rest[rest != end]
    if not len(others):
        return False
    low, high = float(others.min()), float(others.max())
    gap = low - end if end < low else end - high
    if end < 0 <= low or (abs(end) >= FILL and gap > 1e6 * max(abs(low), abs(high))):
        return True
    alone = (rest == end).sum() < 2
    return gap > (high - low) and not (end > 0 and alone)
