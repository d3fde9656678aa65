"""The example of several processes: nginx sends each reader to one, and to another if that dies."""

import asyncio
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

CONF = Path(__file__).parents[2] / "docs" / "server" / "nginx.conf"

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


class Page(RequestHandler):
    def get(self):
        self.finish(self.settings["name"])

    def post(self):
        self.finish(self.settings["name"])


class Talk(WebSocketHandler):
    def on_message(self, message):
        self.write_message(f"{self.settings['name']} heard {message}")


def processes():
    """Start stand-ins for two processes; return them and their ports by name."""
    servers, ports = {}, {}
    for name in ("app1", "app2"):
        sock, ports[name] = bind_unused_port()
        app = Application([("/(?:metrics)?", Page), ("/app/ws", Talk)], name=name)
        servers[name] = HTTPServer(app)
        servers[name].add_socket(sock)
    return servers, ports


def start_nginx(folder, ports):
    """Run the example on a free port of this machine, its files in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = CONF.read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    for name, number in ports.items():
        text = text.replace(f"{name}:5006", f"127.0.0.1:{number}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{kind}_temp_path {folder / kind}; " for kind in kinds)
    text = text.replace("http {", f"http {{ access_log off; {own}")
    (folder / "nginx.conf").write_text(f"daemon off; pid {folder / 'pid'};\n{text}")
    command = ["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "errors"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port


class Browser:
    """What keeps its cookie."""

    def __init__(self, port):
        self.port, self.headers = port, {}

    async def ask(self, path="/", **options):
        url = f"http://127.0.0.1:{self.port}{path}"
        request = HTTPRequest(url, headers=self.headers, **options)
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        if "Set-Cookie" in answer.headers:
            self.headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        return answer

    async def talk(self):
        url = f"ws://127.0.0.1:{self.port}/app/ws"
        line = await websocket_connect(HTTPRequest(url, headers=self.headers))
        await line.write_message("a click")
        heard = await line.read_message()
        line.close()
        return heard


async def until_up(browser, nginx):
    for _ in range(100):
        with suppress(ConnectionRefusedError):
            if (await browser.ask()).code == 200:
                return
        assert nginx.poll() is None, "nginx did not start"
        await asyncio.sleep(0.05)
    pytest.fail("nginx does not answer")


def test_a_reader_stays_with_one_process_and_moves_when_it_dies(tmp_path):
    async def visit():
        servers, ports = processes()
        nginx, port = start_nginx(tmp_path, ports)
        try:
            await until_up(Browser(port), nginx)
            readers = [Browser(port) for _ in range(12)]
            homes = [(await reader.ask()).body.decode() for reader in readers]
            assert set(homes) == {"app1", "app2"}, "readers behind one address share the work"
            for reader, home in zip(readers, homes, strict=True):
                assert (await reader.ask()).body.decode() == home
                assert await reader.talk() == f"{home} heard a click"
            assert (await readers[0].ask("/metrics")).code == 404
            large = await readers[0].ask(method="POST", body=b"x" * 1_100_000)
            assert large.code == 413

            servers["app1"].stop()
            await servers["app1"].close_all_connections()
            assert {(await reader.ask()).body for reader in readers} == {b"app2"}
            moved = readers[homes.index("app1")]
            assert await moved.talk() == "app2 heard a click"
            stayed = readers[homes.index("app2")]
            assert await stayed.talk() == "app2 heard a click"
        finally:
            nginx.terminate()
            nginx.wait(10)
            for server in servers.values():
                server.stop()

    asyncio.run(visit())
