"""How a server bears many readers: pages opened, clicked, zoomed, and closed over real websockets.

Run ``python -m benchmarks.load_sessions --sessions 200 --at-once 10`` in the repository root, or
``--sessions 50 --at-once 50 --stay 180`` for readers who stay. It starts the app and prints waits
and the server's memory: no browser is needed, so one machine can be both the readers and the
server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.bench_app import served

VIEW = (900, 450)
"""Pixels of the figure that a reader zooms into."""

THINK_SECONDS = 5
"""Time between two clicks of one reader."""

EARLY = 20
"""Readers after whom memory is the level that it is held against."""

LINGER_SECONDS = 60
"""Time after the last reader until memory is read again."""


@dataclass
class Waits:
    """Seconds that readers waited, by what for, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    mix_ups: int = 0

    def add(self, step: str, began: float) -> None:
        """Note the time since `began`."""
        self.seconds.setdefault(step, []).append(time.perf_counter() - began)


class MixedUpError(RuntimeError):
    """A reader was shown what another one had asked for."""


class Reader:
    """One page over Bokeh's websocket protocol, as a browser speaks it.

    Parameters
    ----------
    url : str
        Of the page.
    waits : Waits
        Filled.
    """

    def __init__(self, url: str, waits: Waits) -> None:
        self._url, self._waits, self._number = url, waits, 0
        self._socket: WebSocketClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._seen: deque[tuple[float, str]] = deque(maxlen=500)
        self._id = ""
        self._document: Any = None

    async def open(self) -> None:
        """Ask for the page, connect, and say that it is drawn."""
        began = time.perf_counter()
        answer = await AsyncHTTPClient().fetch(self._url, request_timeout=300)
        self._waits.add("page", began)
        found = re.search(rb'"token":"([^"]+)"', answer.body)
        if found is None:
            raise RuntimeError(f"no session: {answer.body[:200]!r}")
        address = self._url.replace("http", "ws", 1) + "/ws"
        # A proxy may tell by a cookie which process a reader belongs to.
        kept = [one.partition(";")[0] for one in answer.headers.get_list("Set-Cookie")]
        self._socket = await websocket_connect(
            HTTPRequest(address, headers={"Cookie": "; ".join(kept)}, request_timeout=300),
            subprotocols=["bokeh", found.group(1).decode()],
            max_message_size=2**30,
        )
        self._reading = asyncio.create_task(self._read())
        # The server takes nothing before it has said that the session is there.
        await self._until("ACK", began)
        await self._send("PULL-DOC-REQ", {})
        self._document = json.loads(await self._until("PULL-DOC-REPLY", began))["doc"]
        await self._event("document_ready")
        self._waits.add("connected", began)

    async def size(self) -> None:
        """Tell how large the figure is, as a browser does once it is drawn."""
        figure = await self._figure()
        for name, value in zip(("inner_width", "inner_height"), VIEW, strict=True):
            await self._change(figure, name, value)

    async def click(self, lon: float, lat: float) -> None:
        """Click on the figure and wait for the numbers of this place, and no other reader's."""
        figure, began = await self._figure(), time.perf_counter()
        await self._event("tap", model={"id": figure}, x=lon, y=lat, sx=1, sy=1)
        shown = await self._until("class=", began, within="PATCH-DOC", and_also="where")
        for number in (lon, lat):
            if f"{abs(number):.2f}" not in shown:
                raise MixedUpError(f"clicked on {lon}, {lat} and was shown another place")
        self._waits.add("click to embedding", began)

    async def zoom(self, west: float, south: float, east: float, north: float) -> None:
        """Zoom the figure and wait until no picture is being computed."""
        figure, began = await self._figure(), time.perf_counter()
        await self._event(
            "rangesupdate", model={"id": figure}, x0=west, x1=east, y0=south, y1=north
        )
        await self._until("image", began, within="PATCH-DOC")
        self._waits.add("zoom to raster", began)

    async def close(self) -> None:
        """Leave."""
        if self._reading is not None:
            self._reading.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _figure(self) -> str:
        """Return the id of the first figure, which may come after the page itself."""
        if self._id:
            return self._id
        for _ in range(600):
            for text in [json.dumps(self._document), *(text for _, text in self._seen)]:
                found = re.search(r'"name": ?"Figure", ?"id": ?"([^"]+)"', text)
                if found:
                    self._id = found.group(1)
                    return self._id
            await asyncio.sleep(0.1)
        raise RuntimeError("no figure within 60 s")

    async def _read(self) -> None:
        while (header := await self._socket.read_message()) is not None:
            head = json.loads(header)
            await self._socket.read_message()
            content = await self._socket.read_message()
            for _ in range(2 * head.get("num_buffers", 0)):
                await self._socket.read_message()
            if head["msgtype"] == "ERROR":
                self._waits.errors.append(str(content)[:300])
            self._seen.append((time.perf_counter(), f"{head['msgtype']} {content}"))

    async def _until(
        self, text: str, began: float, *, within: str = "", and_also: str = "", limit: float = 120
    ) -> str:
        """Wait for a message that came after `began` and holds these texts; return its content."""
        while time.perf_counter() - began < limit:
            new = itertools.takewhile(lambda seen: seen[0] >= began, reversed(self._seen))
            for _, message in new:
                if text in message and within in message and and_also in message:
                    return message.partition(" ")[2]
            await asyncio.sleep(0.01)
        raise TimeoutError(f"nothing with {text!r} within {limit:g} s")

    async def _event(self, name: str, **values: Any) -> None:
        event = {"type": "event", "name": name, "values": {"type": "map", "entries": []}}
        event["values"]["entries"] = [[key, value] for key, value in values.items()]
        kind = {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}
        await self._send("PATCH-DOC", {"events": [kind]})

    async def _change(self, model: str, name: str, value: Any) -> None:
        change = {"kind": "ModelChanged", "model": {"id": model}, "attr": name, "new": value}
        await self._send("PATCH-DOC", {"events": [change]})

    async def _send(self, kind: str, content: Any) -> None:
        self._number += 1
        head = {"msgid": str(self._number), "msgtype": kind}
        for part in (head, {}, content):
            await self._socket.write_message(json.dumps(part))


async def visit(url: str, number: int, waits: Waits, stay: float) -> None:
    """Open a page, click, zoom, click again every few seconds, and leave."""
    reader = Reader(url, waits)
    try:
        await reader.open()
        await reader.size()
        await reader.click(-60.0 + number * 7 % 120, 50.0 - number * 3 % 80)
        west = -120.0 + number * 11 % 160
        await reader.zoom(west, -20.0, west + 60.0, 10.0)
        leave, clicks = time.perf_counter() + stay, 0
        while (left := leave - time.perf_counter()) > 0:
            await asyncio.sleep(min(left, THINK_SECONDS))
            if left > THINK_SECONDS:
                clicks += 1
                await reader.click(west + 13 * clicks % 60 + number / 100, clicks * 7 % 30 - 20.0)
    except (OSError, RuntimeError, TimeoutError) as error:
        waits.mix_ups += isinstance(error, MixedUpError)
        waits.errors.append(f"{type(error).__name__}: {error}")
    finally:
        await reader.close()


def megabytes(server: psutil.Process) -> float:
    """Return the memory that a process holds."""
    return server.memory_info().rss / 1e6


async def load(
    url: str, server: psutil.Process, sessions: int, at_once: int, stay: float
) -> tuple[Waits, list[tuple[int, float]]]:
    """Let readers come, `at_once` at a time; return their waits and the memory along the way."""
    waits, curve, doors = Waits(), [(0, megabytes(server))], asyncio.Semaphore(at_once)
    left = 0

    async def come(number: int) -> None:
        nonlocal left
        async with doors:
            await visit(url, number, waits, stay)
        left += 1
        if left % 10 == 0:
            curve.append((left, megabytes(server)))
            print(f"{left} left: {curve[-1][1]:,.0f} MB", flush=True)

    await asyncio.gather(*(come(number) for number in range(sessions)))
    await asyncio.sleep(LINGER_SECONDS)
    curve.append((sessions, megabytes(server)))
    return waits, curve


def main() -> None:
    """Measure and print two tables: what readers waited, and the server's memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="readers that come and go")
    parser.add_argument("--at-once", type=int, default=1, help="readers that are there together")
    parser.add_argument(
        "--stay",
        type=float,
        default=0.5,
        help="seconds from the zoom to leaving; past five, a click every five",
    )
    options = parser.parse_args()
    with served() as (url, server):
        process = psutil.Process(server.pid)
        began, spent = time.perf_counter(), sum(process.cpu_times()[:2])
        waits, curve = asyncio.run(
            load(url, process, options.sessions, options.at_once, options.stay)
        )
        spent = sum(process.cpu_times()[:2]) - spent
    print(f"\n{options.sessions} sessions, {options.at_once} at once, "
          f"{time.perf_counter() - began:.0f} s; processor time {spent:.0f} s\n")  # fmt: skip
    print("| wait | median | slowest | times |\n|---|---|---|---|")
    for step, seconds in waits.seconds.items():
        print(f"| {step} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s "
              f"| {len(seconds)} |")  # fmt: skip
    print("\n| sessions gone | memory |\n|---|---|")
    for gone, size in curve:
        print(f"| {gone} | {size:,.0f} MB |")
    early = next((size for gone, size in curve if gone >= EARLY), math.nan)
    click = statistics.median(waits.seconds.get("click to embedding", [math.nan]))
    print(
        f"\n{len(waits.errors)} errors, {waits.mix_ups} of them mix-ups of sessions; median click "
        f"{click:.2f} s; memory {LINGER_SECONDS} s after the last reader is "
        f"{curve[-1][1] / early - 1:+.0%} of that after the first {EARLY}"
    )
    print(*sorted(set(waits.errors))[:5], sep="\n")


if __name__ == "__main__":
    main()
