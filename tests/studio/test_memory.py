"""Weights come when they are used and go when memory is short; "meta" stands for a device that is not the CPU."""

import gc
import weakref

import pytest
import torch
from torch import nn

from varifold.studio.host import StudioHost
from varifold.studio.memory import RESERVE, Memory, bytes_of

DEVICE = torch.device("meta")
SIZE = 256  # bytes


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 8))

    def to(self, device):
        self.weight = nn.Parameter(torch.zeros_like(self.weight, device=device))
        return self

    @property
    def is_there(self) -> bool:
        return self.weight.device == DEVICE


@pytest.fixture
def nets() -> list[Net]:
    return [Net() for _ in range(3)]


def memory_for(count: int, nets: list[Net]) -> Memory:
    """Of a device with room for so many of these nets."""
    return Memory(DEVICE, lambda: RESERVE + SIZE * (count - sum(net.is_there for net in nets)))


def test_all_stay_that_fit(nets):
    memory = memory_for(3, nets)
    for net in nets:
        memory.bring(net)
    assert bytes_of(nets[0]) == SIZE
    assert [net.is_there for net in nets] == [True, True, True]


def test_the_one_used_longest_ago_goes_first(nets):
    memory = memory_for(2, nets)
    for number in (0, 1, 0, 2):
        memory.bring(nets[number])
    assert [net.is_there for net in nets] == [True, False, True]
    memory.bring(nets[1])
    assert [net.is_there for net in nets] == [False, True, True]


def test_nets_that_are_brought_together_never_send_each_other_away(nets):
    memory = memory_for(1, nets)
    memory.bring(nets[2])
    memory.bring(nets[0], nets[1])
    assert [net.is_there for net in nets] == [True, True, False]


def test_a_net_that_nobody_holds_is_gone():
    memory = Memory(DEVICE, lambda: 0)
    net = Net()
    held = weakref.ref(net)
    memory.bring(net)
    del net
    gc.collect()
    assert held() is None
    last = Net()
    memory.bring(last)
    assert last.is_there


def test_what_pytorch_holds_unused_is_free(monkeypatch):
    told = {"is_available": lambda: True, "mem_get_info": lambda device: (5, 10)}
    told |= {"memory_reserved": lambda device: 7, "memory_allocated": lambda device: 3}
    for name, answer in told.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert StudioHost().memory.free() == 5 + 7 - 3
