"""The LSTM whose gradient is written out: the same numbers as torch's own, and the true gradient."""

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch.nn.utils.rnn import PackedSequence  # noqa: E402

from captioner.models.decoders.recurrence import recur, step_order  # noqa: E402

ROWS = [5, 5, 3, 1]
WIDTH = 4


def _inputs(dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    shapes = ((sum(ROWS), 4 * WIDTH), (4 * WIDTH, WIDTH), (ROWS[0], WIDTH), (ROWS[0], WIDTH))
    return [torch.randn(shape, generator=random, dtype=dtype).requires_grad_() for shape in shapes]


def _torch_lstm(gates, weight, hidden, cell):
    """torch's own, with an input that is the gates themselves."""
    lstm = torch.nn.LSTM(4 * WIDTH, WIDTH, bias=False)
    weights = {"weight_ih_l0": torch.eye(4 * WIDTH), "weight_hh_l0": weight}
    packed = PackedSequence(gates, torch.tensor(ROWS))
    state = (hidden.unsqueeze(0), cell.unsqueeze(0))
    return torch.func.functional_call(lstm, weights, (packed, state))[0].data


def test_outputs_and_all_gradients_are_those_of_torch():
    inputs = _inputs()
    weigh = torch.randn(sum(ROWS), WIDTH, generator=torch.Generator().manual_seed(1))
    expected, found = _torch_lstm(*inputs), recur(*inputs, ROWS)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((outputs * weigh).sum(), inputs) for outputs in (found, expected)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_gradient_is_that_of_small_differences():
    assert torch.autograd.gradcheck(lambda *inputs: recur(*inputs, ROWS), _inputs(torch.float64))


def test_half_precision_of_autocast_is_computed_in_full():
    inputs = _inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = recur(inputs[0].bfloat16(), *inputs[1:], ROWS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, recur(inputs[0].bfloat16().float(), *inputs[1:], ROWS))
    found.sum().backward()
    assert inputs[0].grad is not None
    assert torch.isfinite(inputs[0].grad).all()


def test_words_in_the_order_of_steps_and_back():
    lengths = torch.tensor([2, 3, 1, 3])
    order = step_order(lengths, torch.device("cpu"))
    words = list(zip(order.caption.tolist(), order.step.tolist(), strict=True))
    assert words == [(1, 0), (3, 0), (0, 0), (2, 0), (1, 1), (3, 1), (0, 1), (1, 2), (3, 2)]
    assert order.rows.tolist() == [4, 3, 2]
    assert order.captions.tolist() == [1, 3, 0, 2]
    assert [words[place] for place in order.back] == sorted(words)
