"""Learning from teachers: the loss by hand, the mean of several, a student that becomes its teachers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from dataclasses import asdict  # noqa: E402

from captioner.config.build import DecoderConfig, TrainConfig  # noqa: E402
from captioner.errors import ConfigError, WeightsError  # noqa: E402
from captioner.models.caption_model import CaptionModel, start_from  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.training.distillation import Teachers, distillation_loss, teacher_network  # noqa: E402

SIZES = DecoderSizes((4, 6), 9, pad=0)
CONFIG = DecoderConfig(decoder="attention", embed=8, hidden=8, dropout=0.5)
FEATURES = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
OWNER, LENGTHS = torch.tensor([0, 1, 2]), torch.tensor([3, 2, 3])
TOKENS = torch.tensor([[1, 4, 5], [1, 6, 0], [1, 7, 8]])
BATCH = (FEATURES, OWNER, TOKENS, LENGTHS)


def model_of(seed: int, config: DecoderConfig = CONFIG) -> CaptionModel:
    torch.manual_seed(seed)
    return CaptionModel(build_decoder(config, SIZES)).eval()


def expectations(model: CaptionModel) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(model.write(*BATCH)[0], dim=-1).numpy()


def test_the_loss_is_the_cross_entropy_with_what_is_expected():
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], requires_grad=True)
    expected = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    by_hand = -(expected * torch.log_softmax(logits, dim=-1)).sum(dim=1).mean()
    loss = distillation_loss(logits, expected)
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)
    loss.backward()
    np.testing.assert_allclose(logits.grad, (torch.softmax(logits.detach(), -1) - expected) / 2, atol=1e-6)


def test_several_teachers_are_the_mean_of_their_probabilities():
    one, two = model_of(1), model_of(2, DecoderConfig(decoder="transformer", hidden=8, layers=1, heads=2))
    found = Teachers([one, two], 0.5).probabilities(*BATCH).numpy()
    np.testing.assert_allclose(found, (expectations(one) + expectations(two)) / 2, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_student_becomes_its_teachers():
    teachers = Teachers([model_of(1), model_of(2)], 0.5)
    expected = teachers.probabilities(*BATCH)
    student = model_of(3, DecoderConfig(decoder="attention", embed=16, hidden=32, dropout=0.0)).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.02, weight_decay=0.0)
    before = np.abs(expectations(student) - expected.numpy()).max()
    for _ in range(150):
        optimizer.zero_grad()
        distillation_loss(student.write(*BATCH)[0], teachers.probabilities(*BATCH)).backward()
        optimizer.step()
    after = np.abs(expectations(student.eval()) - expected.numpy()).max()
    assert after < 0.02 < before


def manifest_of(config: DecoderConfig = CONFIG) -> dict:
    return {**asdict(config), "feature_shape": [4, 6], "vocabulary": 9, "parameters": 1}


def test_a_teacher_comes_out_of_manifest_and_weights_as_it_was():
    model = model_of(5)
    network = teacher_network(manifest_of(), SIZES)
    start_from(network, {**model.state_dict(), "encoder.layer": torch.zeros(2)})
    expected = Teachers([network], 0.5).probabilities(*BATCH)
    np.testing.assert_allclose(expected, expectations(model), atol=1e-7)
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_a_teacher_that_does_not_fit_is_refused():
    with pytest.raises(WeightsError, match=r"looks at features of shape \[7, 6\]"):
        teacher_network({**manifest_of(), "feature_shape": [7, 6]}, SIZES)
    another = teacher_network(manifest_of(DecoderConfig(decoder="attention", embed=8, hidden=16)), SIZES)
    with pytest.raises(WeightsError, match="the decoder to take weights from is another one"):
        start_from(another, model_of(5).state_dict())


def test_options_that_contradict_are_refused():
    with pytest.raises(ConfigError, match="--teachers is 'runs/a'; expected empty with --self-critical"):
        TrainConfig(teachers="runs/a", self_critical="mean", start_from="runs/b")
    with pytest.raises(ConfigError, match="--distill is 0"):
        TrainConfig(distill=0.0)
