"""What this machine is and can do: device, threads, memory, matrix-product rate."""

import contextlib
import gc
import platform
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from torch.nn import functional as F

PRODUCTS = ((2048, 768, 3072), (4096, 768, 3072), (2048, 2048, 2048))
"""(rows, inputs, outputs) of the matrix products that `matmul_rate` times."""


def default_device() -> torch.device:
    """Return the first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def this_process() -> PartialState:
    """Return which process this is among those that torchrun has started, or the only one.

    Processes wait for each other for up to a day, because one may tokenise a large file. torchrun
    ends all of them as soon as one has died.

    >>> this_process().is_main_process, this_process().num_processes
    (True, 1)
    """
    return PartialState(cpu=default_device().type == "cpu", timeout=timedelta(days=1))


def describe_machine() -> dict[str, str | int]:
    """Return what, besides the precision, can change the last digits of a run's results."""
    return {
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(terse=True),
    }


def device_name() -> str:
    """Return the name of the GPU, or of the processor where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text() if info.exists() else "")
    return found[1] if found else platform.processor()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a forward pass runs in `precision`: fp32, bf16 or fp16."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "fp32")


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_memory() -> None:
    """Free what a Trainer has held: it refers to itself, so `del` alone is not enough."""
    gc.collect()
    torch.cuda.empty_cache()  # the next model may be trained by another process


def peak_memory_bytes() -> int:
    """Return the most memory held so far: the GPU's if there is one, else this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return status_bytes("VmHWM")  # getrusage's ru_maxrss may be that of the parent process


def status_bytes(name: str) -> int:
    """Return an entry of /proc/self/status, such as VmRSS, in bytes; 0 if there is none."""
    path = Path("/proc/self/status")
    found = re.search(rf"{name}:\s*(\d+) kB", path.read_text() if path.exists() else "")
    return 1024 * int(found[1]) if found else 0


def matmul_rate(precision: str = "fp32", repetitions: int = 8) -> float:
    """Measure the best rate of a large matrix product on this machine, in FLOP/s."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    rates = []
    for rows, inputs, outputs in PRODUCTS:
        x = torch.randn(rows, inputs, device=default_device()).to(dtype)
        weight = torch.randn(outputs, inputs, device=x.device).to(dtype)
        for _ in range(repetitions):
            start = time.perf_counter()
            F.linear(x, weight)[0, 0].item()  # .item() waits for the device
            rates.append(2 * rows * inputs * outputs / (time.perf_counter() - start))
    return max(rates)
