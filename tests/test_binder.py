"""Binder's and Colab's steps, taken from the files themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
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
BIN = Path(sys.executable).parent
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
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
def environment(tmp_path_factory):
    """Variables for this environment, filled from the list that Binder reads; postBuild has run."""
    folder = tmp_path_factory.mktemp("binder")
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables["PATH"] = f"{BIN}{os.pathsep}{variables['PATH']}"
    variables["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    run(["bash", "postBuild"], folder / "post.log", cwd=ROOT, env=variables)
    return variables


@pytest.fixture
def jupyter(environment, tmp_path):
    """JupyterLab as Binder starts it; gives its address and process."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    log = tmp_path / "jupyter.log"
    command = [BIN / "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
               "--IdentityProvider.token=", "--ServerApp.port_retries=0"]  # fmt: skip
    with log.open("w") as stream:
        server = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
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
def test_the_first_cell_for_colab_installs_the_package_and_no_other_torch(tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=SKIPPED)
    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", venv], tmp_path / "venv.log")
    python = venv / "bin" / "python"
    # Colab's machine comes with torch, numpy and more: here with what this environment holds.
    site = Path(run([python, "-c", SITE], tmp_path / "site.log").strip())
    (site / "colab.pth").write_text(sysconfig.get_path("purelib"))
    versions = [python, "-c", "import torch, numpy; print(torch.__version__, numpy.__version__)"]
    before = run(versions, tmp_path / "before.log")
    notebook = json.loads((ROOT / "notebooks" / "01_a_place.ipynb").read_text())
    cell = "".join(notebook["cells"][1]["source"])
    script = tmp_path / "colab.py"
    script.write_text(f"CELL = {cell!r}\n{COLAB}")
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables["SATCLIP_EXPLORE"] = clone.as_uri()
    out = run([python, script], tmp_path / "colab.log", cwd=tmp_path, env=variables)
    assert str(venv) in out
    assert "(1, 256)" in out
    # A new torch or numpy under a running kernel would ask for a restart.
    assert run(versions, tmp_path / "after.log") == before
    assert not list(site.glob("torch*"))
