"""Faster dropout on a CPU, where torch's own takes a tenth of a training step."""

import torch
from torch import nn

LEVELS = 2**16
"""A random 64-bit number is split into four of 16 bits, each with this many levels."""


class CheapDropout(nn.Dropout):
    """`nn.Dropout`, but on a CPU its probability is rounded to a multiple of 1/65,536."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop values of `x`, of any shape, during training, and scale the others up."""
        if x.device.type != "cpu" or not self.training or self.p in (0.0, 1.0):
            return super().forward(x)
        dropped = round(self.p * LEVELS)
        numbers = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
        numbers.random_(-(2**63), 2**63 - 1)
        levels = numbers.view(torch.int16)[: x.numel()].view(x.shape)  # -2**15 … 2**15 - 1
        kept = (levels >= dropped - LEVELS // 2).to(x.dtype)
        return x * kept * (LEVELS / (LEVELS - dropped))


def use_cheap_dropout(model: nn.Module) -> None:
    """Replace a model's dropout modules. They have no parameters, so no parameter name changes."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, CheapDropout(child.p))
