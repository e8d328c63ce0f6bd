import torch

from toxlib.training import machine


def test_a_forward_pass_runs_in_the_precision():
    with machine.autocast(torch.device("cpu"), "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with machine.autocast(torch.device("cpu"), "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_threads_are_restored():
    before = torch.get_num_threads()
    with machine.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_memory_and_matrix_products_are_measured(monkeypatch):
    monkeypatch.setattr(machine, "PRODUCTS", ((64, 32, 16),))
    assert machine.matmul_rate("fp32", repetitions=2) > 1e6
    held = torch.ones(30_000_000)
    assert machine.peak_memory_bytes() >= machine.status_bytes("VmRSS") > held.nbytes
    assert machine.status_bytes("NoSuchEntry") == 0
