"""Dropout drops the share that it should, keeps the mean, and follows torch's seed."""

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.models.decoders.dropout import Dropout  # noqa: E402


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(share):
    torch.manual_seed(0)
    found = Dropout(share).train()(torch.ones(1000, 1001))
    zeros = (found == 0).float().mean().item()
    assert zeros == pytest.approx(round(share * 256) / 256, abs=3e-3)
    assert found.mean().item() == pytest.approx(1.0, abs=0.02)
    kept = found[found > 0]
    assert kept.max() == kept.min() == pytest.approx(256 / (256 - round(share * 256)))


def test_numbers_are_dropped_independently_of_one_another():
    """The eight that one draw decides over too: neighbours at any distance fall together as often as chance says."""
    torch.manual_seed(0)
    dropped = (Dropout(0.5).train()(torch.ones(800_000)) == 0).float()
    for distance in (1, 2, 7, 8, 64):
        together = (dropped[:-distance] * dropped[distance:]).mean().item()
        assert together == pytest.approx(0.25, abs=3e-3)


def test_every_level_of_a_byte_is_drawn():
    """Else a share near 0 or 1 would be another one."""
    torch.manual_seed(0)
    assert (Dropout(1 / 256).train()(torch.ones(100_000)) == 0).float().mean().item() == pytest.approx(1 / 256, rel=0.2)
    assert (Dropout(0.9999).train()(torch.ones(100_000)) > 0).float().mean().item() == pytest.approx(1 / 256, rel=0.2)


def test_nothing_is_dropped_in_evaluation_or_at_share_0():
    inputs = torch.randn(3, 5)
    assert Dropout(0.5).eval()(inputs) is inputs
    assert Dropout(0.0).train()(inputs) is inputs


def test_the_seed_decides():
    def drawn(seed):
        torch.manual_seed(seed)
        return Dropout(0.5).train()(torch.ones(7, 3)).tolist()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_gradient_goes_where_the_numbers_stayed():
    inputs = torch.ones(1000, requires_grad=True)
    found = Dropout(0.25).train()(inputs)
    found.sum().backward()
    assert inputs.grad.equal(found.detach())
