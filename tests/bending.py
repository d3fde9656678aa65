"""How fuzz tests bend what they send: a seed alone decides, so what was found is found again."""

from __future__ import annotations

import gzip
import io
import random
import zipfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

HANG_SECONDS = 30

thorough = settings(
    max_examples=max(2_000, settings().max_examples),
    deadline=None,
    derandomize=settings().max_examples <= 2_000,
    database=None,
    suppress_health_check=list(HealthCheck),
)
seeds = st.integers(0, 2**63).map(random.Random)


TELLING = [
    b"\0", b"\xff" * 8, b"\x80", b"-1", b"1e999", b"nan", b'"', b",", b";", b"\n", b"\r", b"{",
    b"../../x", b"<b>", b"]", b"\x7f\xff\xff\xff", b"\0" * 64, "é".encode(),
]  # fmt: skip
"""Bytes at which readers stumble."""


def bent(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Flip, cut, repeat, insert, and splice; every fifth time leave the first bytes as they are."""
    data = bytearray(content)
    floor = 16 if chance.random() < 0.2 else 0
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randint(min(floor, len(data)), len(data))
        length = chance.choice((1, 2, 4, 8, 64, 512))
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[at : at + length] * chance.randint(1, 4)
            case 4:
                data[at : at + chance.choice((0, 1, 8))] = chance.choice(TELLING)
            case 5:
                data[at : at + length] = chance.randbytes(length)
            case _:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                data[at:at] = other[start : start + length]
    return bytes(data)


def bent_inside(chance, content, others):
    """Bend what an archive holds, so that its checksums still fit."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(bent(chance, gzip.decompress(content), others), 1)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    kinds = {entry.filename: entry.compress_type for entry in archive.infolist()}
    name = chance.choice(list(parts))
    parts[name] = bent(chance, parts[name], others)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for other, body in parts.items():
            archive.writestr(other, body, kinds[other])
    return out.getvalue()


def any_bent(chance, content, others):
    packed = content[:2] in (b"\x1f\x8b", b"PK")
    return (bent_inside if packed and chance.random() < 0.7 else bent)(chance, content, others)
