"""Errors that one step of the caller would answer, and how a front end words that step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Offer(Enum):
    """The step that answers an error; the value is how it is said in Python."""

    START_OVER = "Pass fresh=True to start over, or another output folder."
    DOWNLOAD = "Pass download=True to fetch it."


class AnswerableError(Exception):
    """An error that the caller can answer with one argument.

    Parameters
    ----------
    problem : str
        What is wrong, as a sentence that holds in every front end.
    offer : Offer, optional
        The step that answers it; the message ends with it in the words of Python.
    """

    def __init__(self, problem: str, offer: Offer | None = None) -> None:
        super().__init__(problem if offer is None else f"{problem} {offer.value}")
        self.problem, self.offer = problem, offer


class RunConflictError(AnswerableError, ValueError):
    """A folder holds a run that cannot go on as it was asked to."""


class MissingFileError(AnswerableError, FileNotFoundError):
    """A file that can be downloaded is not on this machine."""


def sentence(error: Exception, words: Mapping[Offer, str] | None = None) -> str:
    """Write an error for a front end, without the number that the system gives it.

    Parameters
    ----------
    error : Exception
        With an offer or without.
    words : mapping of Offer to str, optional
        How this front end says an offer; Python's words stand where it has none.
    """
    if isinstance(error, AnswerableError) and error.offer is not None:
        said = (words or {}).get(error.offer, error.offer.value)
        return f"{error.problem} {said}"
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error)
