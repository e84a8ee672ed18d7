"""Learning from drawn captions: rewards and baselines by hand, the policy gradient, and training that raises reward."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from fakes import SPECIAL, TableModel, distribution, pictures  # noqa: E402

from captioner.config.build import BuildConfig, DecoderConfig, EncoderConfig, TrainConfig  # noqa: E402
from captioner.errors import ConfigError  # noqa: E402
from captioner.metrics.cider import CiderD  # noqa: E402
from captioner.models.caption_model import CaptionModel  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.training.callbacks import BEST, KeepBest, went_astray  # noqa: E402
from captioner.training.checkpoint import load_checkpoint  # noqa: E402
from captioner.training.data import CaptionData  # noqa: E402
from captioner.training.fit import fit  # noqa: E402
from captioner.training.losses import policy_loss  # noqa: E402
from captioner.training.module import CaptionTask  # noqa: E402
from captioner.training.prepared import PreparedSplit  # noqa: E402
from captioner.training.self_critical import SelfCritic  # noqa: E402

CAPTIONS = [[[4, 5, 6, 7], [4, 5, 7]], [[6, 7, 4, 4, 5]], [[7, 6], [5, 4, 6]]]
VOCABULARY = 8


@pytest.fixture
def split(tmp_path):
    PreparedSplit.save(tmp_path, (([row], each) for row, each in enumerate(CAPTIONS)))
    return PreparedSplit(tmp_path)


def critic_of(split, **options):
    return SelfCritic(split, SPECIAL, **{"samples": 4, "baseline": "mean", "max_length": 6, **options})


def free(picture, history):
    """Three words and the end, all as likely."""
    return distribution(VOCABULARY - 4, w0=0.3, w1=0.3, w2=0.2, eos=0.2)


def drawn(split, **options):
    return critic_of(split, **options).draw(TableModel(free), pictures(3), np.arange(3), seed=(1, 2))


def words_of(found, caption):
    return found.tokens[caption, 1 : 1 + found.lengths[caption]].tolist()


# ---- what is drawn, and what it is worth ----------------------------------------------------------------------------


def test_the_reward_is_cider_d_of_the_words_and_the_end_token(split):
    found = drawn(split)
    reward = CiderD([[[*map(str, caption), "end"] for caption in captions] for captions in CAPTIONS])
    for caption, owner in enumerate(found.owner.tolist()):
        said = ["end" if token == SPECIAL.eos else str(token) for token in words_of(found, caption)]
        assert float(found.rewards[caption]) == pytest.approx(float(reward([said], [owner])[0]), abs=1e-5)
    assert found.rewards.max() > 0


def test_the_end_token_makes_a_difference(split):
    """A caption that stops where it should is worth more than one that was cut there."""
    critic = critic_of(split)
    whole, cut = critic._scores([[4, 5, 7, SPECIAL.eos], [4, 5, 7]], np.array([0, 0]))
    assert whole > cut


def test_by_default_the_baseline_is_the_mean_of_the_others(split):
    found = drawn(split)
    rewards, advantages = found.rewards.view(3, 4), found.advantages.view(3, 4)
    for picture in range(3):
        for caption in range(4):
            others = [float(rewards[picture, other]) for other in range(4) if other != caption]
            expected = float(rewards[picture, caption]) - np.mean(others)
            assert float(advantages[picture, caption]) == pytest.approx(expected, abs=1e-5)


def test_the_greedy_baseline_is_the_models_own_caption(split):
    def sure(picture, history):
        return distribution(VOCABULARY - 4, eos=1.0) if history else distribution(VOCABULARY - 4, w0=0.6, w1=0.4)

    found = critic_of(split, baseline="greedy").draw(TableModel(sure), pictures(3), np.arange(3), seed=(1,))
    greedy = [row for row in range(12) if words_of(found, row)[0] == 4]
    assert greedy
    assert [float(found.advantages[row]) for row in greedy] == pytest.approx([0.0] * len(greedy), abs=1e-6)


def test_captions_are_as_many_as_asked_for_and_equal_ones_stay(split):
    """The mean over draws is an estimate only when what was drawn twice counts twice."""

    def sure(picture, history):
        return distribution(VOCABULARY - 4, eos=1.0) if history else distribution(VOCABULARY - 4, w0=1.0)

    found = critic_of(split).draw(TableModel(sure), pictures(3), np.arange(3), seed=(1,))
    assert found.owner.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert [words_of(found, row) for row in range(12)] == [[4, SPECIAL.eos]] * 12
    assert found.advantages.abs().max() == 0


def test_a_caption_that_does_not_end_is_cut_and_has_no_end_token(split):
    def endless(picture, history):
        return distribution(VOCABULARY - 4, w0=0.5, w1=0.5)

    found = critic_of(split, max_length=3).draw(TableModel(endless), pictures(3), np.arange(3), seed=(1,))
    assert found.lengths.tolist() == [3] * 12
    assert not (found.tokens == SPECIAL.eos).any()


def test_the_seed_decides_what_is_drawn(split):
    critic = critic_of(split)
    first, again, other = (
        critic.draw(TableModel(free), pictures(3), np.arange(3), seed).tokens for seed in ((1, 2), (1, 2), (1, 3))
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


# ---- what is learned from it ----------------------------------------------------------------------------------------


def test_the_gradient_of_the_policy_loss_is_the_policy_gradient():
    """-advantage · (one-hot - probabilities) at every word, over the number of words (Rennie et al., equation 8)."""
    torch.manual_seed(0)
    logits = torch.randn(5, 6, requires_grad=True)
    tokens, lengths = torch.tensor([[1, 4, 2, 0], [1, 5, 4, 2]]), torch.tensor([2, 3])
    advantages = torch.tensor([0.5, -2.0])
    policy_loss(logits, tokens, lengths, advantages).backward()
    probabilities = torch.softmax(logits.detach(), dim=-1)
    for row, (token, advantage) in enumerate(zip([4, 2, 5, 4, 2], [0.5, 0.5, -2, -2, -2], strict=True)):
        one_hot = torch.nn.functional.one_hot(torch.tensor(token), 6)
        np.testing.assert_allclose(logits.grad[row], -advantage * (one_hot - probabilities[row]) / 5, atol=1e-6)


SIZES = DecoderSizes((6,), VOCABULARY, pad=SPECIAL.pad)


def train(folder, **options):
    """A fresh model that starts to learn from what it draws; the record and the model."""
    random = np.random.default_rng(0)
    features = random.normal(size=(9, 6)).astype(np.float32)
    captions = [[random.integers(4, VOCABULARY, 3).tolist()] for _ in features]
    PreparedSplit.save(folder / "split", (([row], each) for row, each in enumerate(captions)))
    split = PreparedSplit(folder / "split")
    torch.manual_seed(1)
    model = CaptionModel(build_decoder(DecoderConfig(embed=16, hidden=24, dropout=0.0), SIZES))

    def score_dev(found):
        return float(sum(len(set(said) & set(true[0])) for said, true in zip(found, captions, strict=True)))

    chosen = {
        "self_critical": "mean",
        "start_from": "somewhere",
        "learning_rate": 0.01,
        "epochs": 60,
        "ground": 0.0,
        **options,
    }
    config = TrainConfig(batch_size=3, accelerator="cpu", seed=3, warmup=0.0, weight_decay=0.0, **chosen)
    critic = SelfCritic(split, SPECIAL, samples=8, baseline=config.self_critical, max_length=6)
    task = CaptionTask(model, config, SPECIAL, score_dev, 6, SIZES, critic)
    data = CaptionData(split, split, lambda rows: features[rows], SPECIAL, batch_size=3, seed=3)
    return fit(task, data, config, folder / "training", threads=1), model


@pytest.mark.parametrize("baseline", ["mean", "greedy"])
def test_training_raises_the_reward(tmp_path, baseline):
    record, _ = train(tmp_path, self_critical=baseline, patience=99)
    rewards = [row["train_reward"] for row in record.history if row["epoch"] > 0]
    assert np.mean(rewards[-5:]) > 1.8 * np.mean(rewards[:5])


def test_the_true_captions_beside_it_keep_the_model_from_forgetting_them(tmp_path):
    """What reward alone does to the loss on true captions, a little of that loss beside it prevents."""
    alone, _ = train(tmp_path / "alone", epochs=20, patience=99)
    beside, _ = train(tmp_path / "beside", epochs=20, patience=99, ground=1.0)
    assert beside.history[-1]["dev_loss"] < 0.9 * alone.history[-1]["dev_loss"]


def test_a_model_that_gets_worse_is_not_kept(tmp_path, capsys):
    """The model that training started from is epoch 0, and stays when nothing is better."""
    torch.manual_seed(1)
    before = CaptionModel(build_decoder(DecoderConfig(embed=16, hidden=24, dropout=0.0), SIZES)).state_dict()
    record, model = train(tmp_path, learning_rate=1e-12, patience=2)
    assert (record.best_epoch, record.epochs) == (0, 2)
    for name, weight in load_checkpoint(tmp_path / "training" / BEST).items():
        assert weight.equal(before[name])
        assert weight.equal(model.state_dict()[name])
    told = capsys.readouterr().err
    assert "before training: dev CIDEr" in told
    assert "stopped: no better dev CIDEr for 2 epochs; the weights kept are those that training started from" in told


START = {"epoch": 0, "dev_cider": 40.0, "dev_length": 10.0, "dev_repeating_share": 0.02, "dev_distinct_2": 0.2}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"dev_length": 8.0}, ""),
        ({"dev_length": 6.0}, "captions have 6.0 words, and had 10.0 before training"),
        ({"dev_length": 15.0}, "captions have 15.0 words"),
        ({"dev_repeating_share": 0.1}, "10% of the captions say something twice, and 2% did"),
        ({"dev_distinct_2": 0.09}, "distinct-2 is 0.090, and was 0.200"),
    ],
    ids=str,
)
def test_an_epoch_with_bad_habits_does_not_count(tmp_path, change, reason):
    row = {**START, "epoch": 1, "dev_cider": 50.0, **change}
    assert went_astray(row, START).startswith(reason)
    assert bool(went_astray(row, START)) == bool(reason)
    keep = KeepBest(tmp_path, patience=2)
    keep.history = [START, row]
    assert keep.best["epoch"] == (0 if reason else 1)


def test_training_from_scratch_knows_no_bad_habits(tmp_path):
    first = {**START, "epoch": 1, "dev_cider": 1.0, "dev_length": 25.0}
    later = {**START, "epoch": 2}
    keep = KeepBest(tmp_path, patience=2)
    keep.history = [first, later]
    assert keep.best is later


def test_only_a_model_that_writes_can_learn_from_what_it_draws():
    with pytest.raises(ConfigError, match="--start-from is ''; expected a finished build or bundle with"):
        BuildConfig(encoder=EncoderConfig(features="grid"), train=TrainConfig(self_critical="mean"))
