"""Evaluation mode for as long as something is measured."""

import pytest
import torch
from torch import nn

from sweeper.models.maths.modes import measuring


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.lstm = nn.LSTM(4, 4, 2, dropout=0.5, batch_first=True)

    def forward(self, x):
        return self.lstm(self.drop(self.norm(x)).unsqueeze(1))[0].squeeze(1)


def state(net):
    return [(m.training, getattr(m, "dropout", None)) for m in net.modules()]


def test_nothing_is_random_and_no_statistics_change_meanwhile():
    net, x = Net(), torch.randn(6, 4)
    before = {name: value.clone() for name, value in net.named_buffers()}
    with measuring(net):
        found = [net(x), net(x), net(x[:3])]
        assert torch.equal(found[0], found[1])
        torch.testing.assert_close(found[2], found[0][:3])
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert torch.equal(found[0], net.eval()(x))


def test_recurrent_layers_stay_in_training_mode_so_that_gradients_can_be_taken():
    net = Net()
    with measuring(net):
        assert {type(m) for m in net.modules() if m.training} == {nn.LSTM}
        assert net.lstm.dropout == 0
        net(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_every_mode_and_dropout_is_put_back_whatever_happens(training):
    net = Net().train(training)
    net.norm.eval()
    before = state(net)
    with measuring(net):
        assert state(net) != before
    assert state(net) == before
    with pytest.raises(RuntimeError), measuring(net):
        raise RuntimeError
    assert state(net) == before
