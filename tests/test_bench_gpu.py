"""The benchmark of accelerators runs where there is none, and says so."""

import json

import torch

from benchmarks import bench_gpu


def test_it_runs_without_a_gpu_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "figures.json"
    bench_gpu.main(["--small", "--seconds", "0", "--json", str(path)])
    printed = capsys.readouterr().out
    assert "No GPU was found" in printed
    [(device, found)] = json.loads(path.read_text())["figures"].items()
    assert device.startswith("CPU")
    assert all(value > 0 for value in found.values())
    assert "| contrastive steps at batch 32" in printed


def test_a_figure_that_one_device_lacks_is_not_a_number():
    assert "| b | not measured | 2 |" in bench_gpu.table({"GPU": {"a": 1.0}, "CPU": {"b": 2.0}})
