"""Limits of a server, from its environment; each refusal is a sentence."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from typing import Any

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
    request_mb : int
        Megabytes that the body of a request may have; uploads come over the websocket.
    request_seconds : int
        Time for a request to arrive, and for a tile to be painted.
    grace_seconds : int
        Time that what runs has once the server was told to stop.
    fetch : bool
        Whether readers may fetch weights and imagery to the server, and name folders on it.
    """

    sessions: int = 100
    workers: int = 4
    trainings: int = 2
    waiting: int = 8
    request_mb: int = 1
    request_seconds: int = 30
    grace_seconds: int = 20
    fetch: bool = True

    @classmethod
    def from_environment(
        cls, environment: os._Environ[str] | dict[str, str] = os.environ
    ) -> Settings:
        """Read SATCLIP_SESSIONS, SATCLIP_WORKERS and so on; SATCLIP_FETCH is 0 or 1.

        Raises
        ------
        ValueError
            If one is no whole number from 1 to 10,000, or SATCLIP_FETCH neither 0 nor 1.
        """
        given: dict[str, Any] = {}
        for field in fields(cls):
            name = f"{PREFIX}{field.name.upper()}"
            text = environment.get(name)
            if text is None:
                continue
            if field.name == "fetch":
                if text not in ("0", "1"):
                    raise ValueError(f"{name} must be 0 or 1; got {text!r:.40}.")
                given[field.name] = text == "1"
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
        return ", ".join(f"{name} {int(value)}" for name, value in asdict(self).items())


SETTINGS = Settings.from_environment(os.environ)


def refuse_fetching(subject: str) -> None:
    """Raise ValueError where readers may fetch nothing to this server.

    Parameters
    ----------
    subject : str
        What was asked for, as the subject of a sentence.
    """
    if not SETTINGS.fetch:
        raise ValueError(
            f"{subject} cannot be had here: this server fetches nothing for its readers; install "
            "the package on a machine of your own, or ask whoever runs the server."
        )
