import pytest
import torch
from torch import nn

from toxlib.longformer.dropout import CheapDropout, use_cheap_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_share_of_dropped_values_and_mean(dtype, p):
    torch.manual_seed(0)
    x = torch.ones(999, 333, dtype=dtype, requires_grad=True)
    y = CheapDropout(p)(x)
    assert y.dtype == dtype
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=0.003)
    assert y.double().mean().item() == pytest.approx(1, abs=0.005)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_values_are_dropped_independently():
    """Neighbouring values share a random number but are dropped independently, as rows are."""
    torch.manual_seed(0)
    kept = (CheapDropout(0.5)(torch.ones(4000, 64)) != 0).double()
    assert torch.corrcoef(kept.T).fill_diagonal_(0).abs().max() < 0.1


def test_seed_decides_what_is_dropped_and_evaluation_drops_nothing():
    module, x = CheapDropout(0.3), torch.randn(7, 5)
    torch.manual_seed(1)
    first = module(x)
    torch.manual_seed(1)
    assert torch.equal(module(x), first)
    assert torch.equal(module.eval()(x), x)


def test_nested_dropout_modules_are_replaced():
    model = nn.Sequential(nn.Dropout(0.2), nn.ModuleList([nn.Dropout(0.4)]), nn.Linear(2, 2))
    names = list(model.state_dict())
    use_cheap_dropout(model)
    assert isinstance(model[0], CheapDropout)
    assert model[1][0].p == 0.4
    assert list(model.state_dict()) == names
