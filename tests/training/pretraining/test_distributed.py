"""Which GPU a process takes; what several processes agree on is tested with the loop."""

from __future__ import annotations

import pytest
import torch

from satclip_explore.errors import Offer, RunConflictError
from training.pretraining import distributed as module
from training.pretraining.distributed import Processes, processes


@pytest.fixture
def launched(monkeypatch):
    """As under torchrun, process 2 of this machine; the group is not joined but noted."""
    joined = []
    monkeypatch.setattr(module.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(
        module.dist, "init_process_group", lambda backend, **more: joined.append((backend, more))
    )
    monkeypatch.setattr(module.dist, "destroy_process_group", lambda: joined.append("left"))
    monkeypatch.setattr(module.dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(module.dist, "get_rank", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    return joined


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    # Allocating is all that the real one does with a name that it knows.
    monkeypatch.setattr(module, "resolve_device", torch.device)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_every_process_takes_its_own_gpu(launched, monkeypatch, device):
    gpus(monkeypatch, 4)
    with processes(device, 8) as those:
        assert those.device == torch.device("cuda:2")
        assert (those.rank, those.count, those.is_first) == (2, 4, False)
    (backend, more), left = launched
    assert (backend, more["device_id"], left) == ("nccl", torch.device("cuda:2"), "left")


def test_fewer_gpus_than_processes_are_one_sentence(launched, monkeypatch):
    gpus(monkeypatch, 2)
    with (
        pytest.raises(ValueError, match="has 2 and process 2 none. Start torchrun with --nproc"),
        processes("auto", 8),
    ):
        pass
    assert launched == []


@pytest.mark.parametrize(("device", "count"), [("cpu", 4), ("auto", 0)])
def test_without_gpus_processes_meet_on_the_cpu(launched, monkeypatch, device, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    with processes(device, 8) as those:
        assert those.device.type == "cpu"
    assert launched[0][0] == "gloo"


def test_a_process_that_fails_does_not_wait_for_those_that_wait_for_it(launched):
    with pytest.raises(OSError, match="disk"), processes("cpu", 8):
        raise OSError("the disk is full")
    assert "left" not in launched


@pytest.mark.parametrize("rank", [0, 1])
def test_what_fails_in_the_first_process_fails_in_all(monkeypatch, rank):
    said = []

    def broadcast(words, src):
        assert src == 0
        if rank == 0:
            said.append(bytes(words.tolist()))
        else:
            heard = "START_OVER\ngrößer 0".encode() + b" \xc3"
            words[: len(heard)] = torch.tensor(list(heard))

    monkeypatch.setattr(module.dist, "broadcast", broadcast)
    those = module.Processes(rank, 2, torch.device("cpu"))

    def fail():
        raise OSError("the disk is full")

    kind = OSError if rank == 0 else RunConflictError
    with pytest.raises(kind, match="disk is full|größer 0") as caught:
        those.after_first(fail)
    if rank == 0:
        assert said[0].startswith(b"\nthe disk is full\0")
    else:
        assert caught.value.offer is Offer.START_OVER


def test_processes_that_see_other_files_are_told_so(monkeypatch):
    others = torch.tensor([5, -5])
    monkeypatch.setattr(
        module.dist, "all_reduce", lambda both, op: both.copy_(torch.maximum(both, others))
    )
    those = module.Processes(0, 2, torch.device("cpu"))
    with pytest.raises(ValueError, match="on a disk that all machines share"):
        those.agree("epoch 3 of these images")
    monkeypatch.setattr(module.dist, "all_reduce", lambda both, op: None)
    those.agree("epoch 3 of these images")


def test_every_process_gets_what_the_first_one_holds(monkeypatch):
    monkeypatch.setattr(module.dist, "broadcast", lambda tensor, src: tensor.fill_(7.0 + src))
    buffers = {"mean": torch.zeros(3), "weight": torch.zeros(2, 2)}
    Processes(1, 2, torch.device("cpu")).broadcast(buffers.values())
    assert all((tensor == 7.0).all() for tensor in buffers.values())


def test_a_batch_that_cannot_be_shared_evenly_is_refused(launched):
    with pytest.raises(ValueError, match="evenly among 4 processes; got 6"), processes("cpu", 6):
        pass
    assert launched[-1] == "left"


def test_a_single_process_joins_nothing():
    with processes("cpu", 7) as those:
        assert (those.rank, those.count, those.device.type) == (0, 1, "cpu")
        assert those.any(True)
        assert not those.any(False)
        assert those.mean(torch.tensor(3.0)) == 3.0
        assert those.after_first(lambda: 4) == 4
        those.agree("anything")
