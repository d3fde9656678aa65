"""Which arithmetic a device is fast in: one answer for rasters, probes and pretraining."""

from __future__ import annotations

import torch


def fast_precision(device: str | torch.device) -> str:
    """Name the arithmetic that a device multiplies fastest without losing too much.

    The processor is asked, not timed: a machine under load would answer now one, now the other.

    Parameters
    ----------
    device : str or torch.device
        "cpu", "cuda", …

    Returns
    -------
    str
        "bfloat16" where the device has units for it, else "float32".
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    has_units = device.type == "cpu" and (
        torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    )
    return "bfloat16" if has_units else "float32"
