"""Limits of a server, from its environment; each refusal is a sentence."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

PREFIX = "SATCLIP_"


@dataclass(frozen=True)
class Settings:
    """What a server allows.

    Parameters
    ----------
    sessions : int
        Pages that are open at a time.
    workers : int
        Rasters and tables that are computed at a time.
    trainings : int
        Probes and encoders that are trained at a time.
    waiting : int
        Trainings that may wait for others.
    """

    sessions: int = 100
    workers: int = 4
    trainings: int = 2
    waiting: int = 8

    @classmethod
    def from_environment(
        cls, environment: os._Environ[str] | dict[str, str] = os.environ
    ) -> Settings:
        """Read SATCLIP_SESSIONS, SATCLIP_WORKERS, SATCLIP_TRAININGS and SATCLIP_WAITING.

        Raises
        ------
        ValueError
            If one is no whole number from 1 to 10,000.
        """
        given = {}
        for field in fields(cls):
            name = f"{PREFIX}{field.name.upper()}"
            text = environment.get(name)
            if text is None:
                continue
            if not (
                text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= 10_000
            ):
                raise ValueError(
                    f"{name} must be a whole number from 1 to 10,000; got {text!r:.40}."
                )
            given[field.name] = int(text)
        return cls(**given)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items())


SETTINGS = Settings.from_environment(os.environ)
