"""Losses against sums done by hand."""

import math

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.training.losses import WordPresence, attend_all_loss, caption_loss  # noqa: E402

PAD, BOS, EOS = 0, 1, 2
TOKENS = torch.tensor([[BOS, 4, EOS, PAD], [BOS, 5, 4, EOS]])
LENGTHS = torch.tensor([2, 3])


def value(loss):
    return float(loss.detach())


def test_the_caption_loss_is_the_mean_over_words_and_end_tokens_without_padding():
    torch.manual_seed(0)
    logits = torch.randn(5, 6)
    log_probs = torch.log_softmax(logits, dim=-1)
    targets = [4, EOS, 5, 4, EOS]
    by_hand = -sum(float(log_probs[row, token]) for row, token in enumerate(targets)) / 5
    assert float(caption_loss(logits, TOKENS, LENGTHS)) == pytest.approx(by_hand, rel=1e-6)


def test_label_smoothing_spreads_the_target_over_the_vocabulary():
    logits = torch.zeros(5, 6)
    logits[:, 3] = 2.0
    log_probs = torch.log_softmax(logits, dim=-1)
    smooth = [-(0.9 * log_probs[row, token] + 0.1 * log_probs[row].mean()) for row, token in enumerate([4, 2, 5, 4, 2])]
    assert float(caption_loss(logits, TOKENS, LENGTHS, 0.1)) == pytest.approx(float(sum(smooth)) / 5, rel=1e-6)


def test_word_presence_asks_for_the_share_of_captions_that_have_a_word():
    """Two captions of one picture: what all have should be likely, what none has unlikely."""
    presence = WordPresence((3,), 6)
    with torch.no_grad():
        presence.layer.weight.zero_()
        presence.layer.bias.fill_(-30.0)
        presence.layer.bias[4] = 30.0  # in both captions
    certain = value(presence(torch.randn(1, 3), torch.tensor([0, 0]), TOKENS))
    with torch.no_grad():
        presence.layer.bias[4] = -30.0
    assert value(presence(torch.randn(1, 3), torch.tensor([0, 0]), TOKENS)) == pytest.approx(certain + 30.0, rel=1e-4)


def test_word_presence_is_lowest_at_the_shares():
    presence = WordPresence((3,), 6)
    with torch.no_grad():
        presence.layer.weight.zero_()
        presence.layer.bias.fill_(-30.0)
    features, owner = torch.randn(1, 3), torch.tensor([0, 0])
    losses = []
    for share in (0.3, 0.5, 0.7):  # word 5 is in one of the two captions
        with torch.no_grad():
            presence.layer.bias[5] = math.log(share / (1 - share))
        losses.append(value(presence(features, owner, TOKENS)))
    assert min(losses) == losses[1]


def test_pictures_do_not_share_their_words():
    presence = WordPresence((3,), 6)
    features = torch.randn(2, 3)
    together = presence(features, torch.tensor([0, 1]), TOKENS)
    apart = [presence(features[i : i + 1], torch.tensor([0]), TOKENS[i : i + 1]) for i in range(2)]
    assert value(together) == pytest.approx(value(sum(apart)) / 2, rel=1e-5)


def test_looking_everywhere_alike_costs_nothing():
    assert value(attend_all_loss(torch.tensor([[2.0, 2.0, 2.0], [0.5, 0.5, 0.5]]))) == 0


def test_looking_at_one_region_costs_what_the_equation_says():
    attended = torch.tensor([[6.0, 0.0, 0.0], [1.0, 1.0, 1.0]])  # six words over three regions: 2 each would be fair
    assert value(attend_all_loss(attended)) == pytest.approx((16 + 4 + 4) / 2)
