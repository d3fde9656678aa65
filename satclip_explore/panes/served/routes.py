"""What a supervisor asks a server, as a plugin of `panel serve`: health, numbers, a log."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import psutil
from panel.io.server import DocHandler
from tornado.web import RequestHandler

from satclip_explore.panes.background import TRAININGS, WORK
from satclip_explore.panes.served import guard, tiles
from satclip_explore.panes.served.closing import open_pages
from satclip_explore.panes.served.settings import SETTINGS
from satclip_explore.store import RESULTS

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""Of every page. Scripts need no policy of their own: none comes from another machine."""


class Health(RequestHandler):
    """Say that the server's loop turns: an answer is the proof."""

    def get(self) -> None:
        """Answer with one word."""
        self.finish("ok\n")


class Metrics(RequestHandler):
    """Numbers in Prometheus's text format."""

    def get(self) -> None:
        """Write every number with what it is."""
        self.set_header("Content-Type", "text/plain; version=0.0.4")
        lines = []
        for name, (value, meaning) in numbers().items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        self.finish("\n".join(lines) + "\n")


def numbers() -> dict[str, tuple[float, str]]:
    """Return what is measured, by its name: the value, and what it is."""
    process = psutil.Process()
    return {
        "process_resident_memory_bytes": (process.memory_info().rss, "Memory that is held."),
        "process_cpu_seconds": (sum(process.cpu_times()[:2]), "Processor time so far."),
        "satclip_sessions": (open_pages(), "Pages that are open."),
        "satclip_sessions_limit": (SETTINGS.sessions, "Pages that may be open."),
        "satclip_work_running": (WORK.running, "Rasters and tables being computed."),
        "satclip_work_waiting": (WORK.waiting, "Rasters and tables that wait."),
        "satclip_trainings_running": (TRAININGS.running, "Probes and encoders being trained."),
        "satclip_trainings_waiting": (TRAININGS.waiting, "Trainings that wait."),
        "satclip_store_bytes": (RESULTS.nbytes, "Shared results that are kept."),
    }


class JsonLines(logging.Formatter):
    """One JSON object for each line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, and message."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_lines() -> None:
    """Log as JSON to the error stream."""
    stream = logging.StreamHandler()
    stream.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[stream], force=True)


def _headers(handler: RequestHandler) -> None:
    for name, value in HEADERS.items():
        handler.set_header(name, value)


def routes() -> list[tuple[str, type[RequestHandler]]]:
    """Set up the log, the headers and the limits, and return what is answered beside the page."""
    log_lines()
    guard.set_up()
    DocHandler.set_default_headers = _headers  # type: ignore[assignment,method-assign]
    return [("/healthz", Health), ("/metrics", Metrics), *tiles.routes()]


ROUTES = routes()
"""What `--plugins` looks for; importing this module is the server's start."""
