"""Choose the precision of computing, fp32 or a 16-bit format, by a measurement on this machine.

That a processor has instructions for bf16 does not make bf16 faster. An AMD EPYC multiplies
matrices two to three times as fast in bf16 as in fp32, an Intel Xeon with AVX512-BF16 a fifth more
slowly (docs/LOG.md). So we time what training does most, once per machine, and keep the result.
"""

import contextlib
import os
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from toxlib import files
from toxlib.errors import InputError
from toxlib.training.machine import default_device, device_name, threads

MARGIN = 1.1
"""A 16-bit format must be this many times as fast as fp32 to be chosen: it rounds, and the parts
of a training step that stay in fp32 gain nothing."""
ROWS = {"cpu": 256, "cuda": 8192}
SECONDS = 0.05
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose(measured: dict[str, float]) -> str:
    """Return the precision to compute in, given the rate of each one in any unit.

    >>> choose({"fp32": 100, "bf16": 109}), choose({"fp32": 100, "bf16": 111})
    ('fp32', 'bf16')
    """
    fastest = max(measured, key=measured.get)
    return fastest if measured[fastest] > MARGIN * measured["fp32"] else "fp32"


def resolve(precision: str, width: int) -> str:
    """Return a recipe's `precision`; if it is "auto", the fastest here for an encoder's width."""
    return choose(rates(width)) if precision == "auto" else precision


def describe(precision: str, width: int) -> dict[str, object]:
    """Return what `resolve` returns and, if it was chosen by rates, the rates in GFLOP/s."""
    if precision != "auto":
        return {"precision": precision}
    measured = rates(width)
    return {"precision": choose(measured), "gflops": measured}


def rates(width: int) -> dict[str, float]:
    """Return the rate of each precision in GFLOP/s (per CPU core), measured once on this machine.

    The rates are kept in `toxlib/precision.json` in the user's cache folder; delete that file to
    measure again. If it cannot be written, each process measures.
    """
    path, key = _path(), f"{device_name()}, torch {torch.__version__}, width {width}"
    kept = files.read_json_or_none(path) or {}
    if _is_whole(kept.get(key)):
        return kept[key]
    measured = measure_rates(width)
    with contextlib.suppress(OSError, InputError):
        files.write_json(path, kept | {key: measured})
    return measured


def measure_rates(width: int) -> dict[str, float]:
    """Time a linear layer of this width, forward and backward, in each precision, in GFLOP/s.

    The precisions take turns for some 50 ms each, and the shortest times count. On a CPU they are
    CPU-seconds of one thread, so that other programs hardly change them.
    """
    clock = time.perf_counter if default_device().type == "cuda" else time.thread_time
    seconds = {name: [] for name in _candidates()}
    # The caller may be in inference mode, in which nothing has a gradient.
    with torch.inference_mode(False), torch.enable_grad(), threads(1):
        passes = {name: _Pass(width, DTYPES[name]) for name in seconds}
        for one in passes.values():
            one()  # the first pass of a process is slower
        while min(map(sum, seconds.values())) < SECONDS or len(seconds["fp32"]) < 3:
            for name, one in passes.items():
                start = clock()
                one()
                seconds[name].append(clock() - start)
            if max(map(min, seconds.values())) > 2 * min(seconds["fp32"]):
                break  # a processor that emulates bf16 needs a second for each pass
    operations = passes["fp32"].operations
    return {name: round(operations / min(s) / 1e9, 1) for name, s in seconds.items()}


class _Pass:
    """A linear layer from `width` to four times as many values, as in a feed-forward layer."""

    def __init__(self, width: int, dtype: torch.dtype):
        device = default_device()
        rows = ROWS[device.type]
        self.inputs = torch.randn(rows, width, device=device, requires_grad=True)
        self.weight = torch.randn(4 * width, width, device=device, dtype=dtype, requires_grad=True)
        self.gradient = torch.randn(rows, 4 * width, device=device, dtype=dtype)
        self.operations = 6 * rows * self.weight.numel()  # 2 forward, 4 backward

    def __call__(self) -> None:
        # As under autocast: the inputs are fp32, and a weight is converted once per step.
        F.linear(self.inputs.to(self.weight.dtype), self.weight).backward(self.gradient)
        self.weight.grad[0, 0].item()  # waits for the device
        self.weight.grad = self.inputs.grad = None


def _candidates() -> list[str]:
    is_gpu = default_device().type == "cuda"
    # fp16 needs a loss scaler, so it is for GPUs that lack bf16 only.
    lacks_bf16 = is_gpu and not torch.cuda.is_bf16_supported(including_emulation=False)
    return ["fp32", "fp16" if lacks_bf16 else "bf16"]


def _path() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
    return Path(cache, "toxlib", "precision.json")


def _is_whole(kept: object) -> bool:
    if not isinstance(kept, dict) or list(kept) != _candidates():
        return False
    return all(isinstance(rate, float) and rate > 0 for rate in kept.values())
