"""Binder's and Colab's steps, taken from the files themselves, in an empty environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = shutil.ignore_patterns(
    ".venv",
    ".git",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    "runs",
    "site",
    "build",
    "notebooks.out",
)
MEMORY_MB = 2048
"""What mybinder.org gives a session."""


def pip_lines():
    """The pip part of environment.yml, in order."""
    text = (ROOT / "environment.yml").read_text().split("- pip:")[1]
    return re.findall(r"^ {6}- (.+?)(?:\s+#.*)?$", text, flags=re.MULTILINE)


def test_the_pip_part_is_the_pinned_set_and_this_package():
    index, *wanted = pip_lines()
    assert index == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert wanted == ["-r requirements.txt", "-e ."]


def test_post_build_can_be_run_and_stops_at_the_first_failure():
    path = ROOT / "postBuild"
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_proxy_serves_the_app_alone_with_threads(monkeypatch):
    panel_server = pytest.importorskip("panel_server")
    config = pytest.importorskip("jupyter_server_proxy.config")
    monkeypatch.chdir(ROOT)
    spec = panel_server.setup_panel_server()
    command = spec["command"](5006)
    assert command[:4] == ["panel", "serve", "satclip_explore/app.py", "--allow-websocket-origin"]
    assert command[command.index("--num-threads") + 1] == "4"
    assert "--dev" not in command
    # Several processes bring requests to public servers back.
    assert "--num-procs" not in command
    # The proxy is left out with a warning where this raises.
    entry = config.LauncherEntry(**spec["launcher_entry"])
    assert entry.enabled
    assert entry.path_info == "panel/app"


def run(command, log, **options):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    log.write_text(done.stdout + done.stderr)
    assert done.returncode == 0, f"{command} failed:\n{log.read_text()[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    """A copy of the checkout, the environment's list in an empty environment, and postBuild."""
    folder = tmp_path_factory.mktemp("binder")
    clone, venv = folder / "clone", folder / "venv"
    shutil.copytree(ROOT, clone, ignore=SKIPPED)
    run([sys.executable, "-m", "venv", venv], folder / "venv.log")
    # Where to download from is Binder's business; elsewhere pip is set up for the machine it is on.
    wanted = [part for line in pip_lines() if line[:2] != "--" for part in line.split()]
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
    run([*pip, *wanted], folder / "pip.log", cwd=clone)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    environment["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    run(["bash", "postBuild"], folder / "post.log", cwd=clone, env=environment)
    yield clone, venv, environment
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def jupyter(binder, tmp_path):
    """JupyterLab as Binder starts it; gives its address and process."""
    clone, venv, environment = binder
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    log = tmp_path / "jupyter.log"
    command = [venv / "bin" / "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
               "--IdentityProvider.token=", "--ServerApp.port_retries=0"]  # fmt: skip
    with log.open("w") as stream:
        server = subprocess.Popen(
            [str(part) for part in command],
            cwd=clone,
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield f"http://localhost:{port}", server
    finally:
        server.terminate()
        server.wait(30)


def fetch(url, seconds):
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def memory_mb(pid):
    """Memory of a process and all that it started."""
    psutil = pytest.importorskip("psutil")
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 2**20


@pytest.mark.install
def test_the_app_loads_through_the_proxy_within_binders_memory(jupyter):
    address, server = jupyter
    fetch(f"{address}/api", 120)
    page = fetch(f"{address}/panel/app", 240)
    assert "SatCLIP Explore" in page
    assert '"docid"' in page or "data-root-id" in page
    assert re.findall(r'(?:src|href)="https?://(?!localhost)', page) == []
    assert 100 < memory_mb(server.pid) < MEMORY_MB


COLAB = """
import sys, types
google, colab, output = (types.ModuleType(n) for n in
                         ("google", "google.colab", "google.colab.output"))
asked = []
output.enable_custom_widget_manager = lambda: asked.append(True)
google.colab, colab.output = colab, output
sys.modules |= {"google": google, "google.colab": colab, "google.colab.output": output}
from IPython.core.interactiveshell import InteractiveShell
result = InteractiveShell.instance().run_cell(CELL)
result.raise_error()
assert asked == [True]
import satclip_explore as sx
import satclip_explore.app, training.probe
print(sx.__file__, sx.load_encoder().embed([(13.4, 52.5)]).shape)
"""


@pytest.mark.install
def test_the_first_cell_for_colab_installs_the_package_and_no_other_torch(binder, tmp_path):
    clone, venv, environment = binder
    python = venv / "bin" / "python"
    run([python, "-m", "pip", "uninstall", "--yes", "satclip-explore"], tmp_path / "un.log")
    versions = [python, "-c", "import torch, numpy; print(torch.__version__, numpy.__version__)"]
    before = run(versions, tmp_path / "before.log")
    notebook = json.loads((ROOT / "notebooks" / "01_a_place.ipynb").read_text())
    cell = "".join(notebook["cells"][1]["source"])
    script = tmp_path / "colab.py"
    script.write_text(f"CELL = {cell!r}\n{COLAB}")
    environment = environment | {"SATCLIP_EXPLORE": clone.as_uri()}
    out = run([python, script], tmp_path / "colab.log", cwd=tmp_path, env=environment)
    assert str(venv) in out
    assert "(1, 256)" in out
    # A new torch or numpy under a running kernel would ask for a restart.
    assert run(versions, tmp_path / "after.log") == before
