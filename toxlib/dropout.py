"""Dropout from few random numbers: torch's own takes a tenth of a training step on a CPU."""

import torch
from torch import nn

LANES = 2**16
"""Each 64-bit random number decides on four values, 16 bits each."""


class CheapDropout(nn.Dropout):
    """`nn.Dropout` whose probability on a CPU is rounded to 1/65,536, scaled accordingly."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop values in training, as `nn.Dropout` does; `x` of any shape."""
        if x.device.type != "cpu" or not self.training or self.p in (0.0, 1.0):
            return super().forward(x)
        dropped = round(self.p * LANES)
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), 2**63 - 1)
        lanes = numbers.view(torch.int16)[: x.numel()].view(x.shape)  # from -2**15
        kept = (lanes >= dropped - LANES // 2).to(x.dtype)
        return x * kept * (LANES / (LANES - dropped))


def use_cheap_dropout(model: nn.Module) -> None:
    """Replace a model's dropout modules; they have no parameters, so no name changes."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, CheapDropout(child.p))
