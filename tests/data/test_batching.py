from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toxlib.data.batching import (
    CPU_BUDGET_PADDED,
    CPU_BUDGET_UNPADDED,
    GPU_BUDGET,
    batch_lengths,
    default_token_budget,
    micro_batches,
    take_rows,
)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 500))
def test_every_row_once_and_no_group_over_the_budget(lengths, budget):
    groups = micro_batches(lengths, budget)
    rows = [int(row) for group in groups for row in group]
    assert sorted(rows) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert len(group) == 1 or len(group) * longest <= budget


def test_take_rows_drops_only_padding():
    batch = {
        "input_ids": torch.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]),
        "labels": torch.tensor([[0.0, 1.0, 0.0]] * 3),  # as many labels as tokens
    }
    part = take_rows(batch, np.array([2, 1]))
    assert part["input_ids"].tolist() == [[5, 6], [4, 0]]
    assert part["labels"].shape == (2, 3)
    assert batch_lengths(batch) == [3, 1, 2]


@pytest.mark.parametrize(
    ("device", "attributes", "budget"),
    [
        ("cpu", {}, CPU_BUDGET_PADDED),
        ("cpu", {"computes_padding": False}, CPU_BUDGET_UNPADDED),
        ("cuda", {}, GPU_BUDGET),
        ("cuda", {"computes_padding": False}, GPU_BUDGET),
    ],
)
def test_default_budget_follows_device_and_model(device, attributes, budget):
    model = SimpleNamespace(device=torch.device(device), **attributes)
    assert default_token_budget(model) == budget
