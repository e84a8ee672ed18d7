"""What training logs is what it says; two learning rates where a pretrained encoder is trained too."""

import csv

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from fakes import SPECIAL  # noqa: E402
from torch import nn  # noqa: E402

from captioner.config.build import DecoderConfig, TrainConfig  # noqa: E402
from captioner.config.decode import DecodeConfig  # noqa: E402
from captioner.decoding.decode import decode  # noqa: E402
from captioner.images import PreprocessSpec  # noqa: E402
from captioner.models.caption_model import CaptionModel  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.models.encoders.base import Encoder  # noqa: E402
from captioner.models.torch_step import TorchStepModel  # noqa: E402
from captioner.training.callbacks import BEST, LOG, KeepBest  # noqa: E402
from captioner.training.checkpoint import load_checkpoint  # noqa: E402
from captioner.training.data import CaptionData  # noqa: E402
from captioner.training.fit import fit  # noqa: E402
from captioner.training.module import CaptionTask  # noqa: E402
from captioner.training.prepared import PreparedSplit  # noqa: E402

SIZES = DecoderSizes((6,), 12, pad=SPECIAL.pad)
DEV = [[[4, 5, 6], [7]], [[8, 9]], [[10, 11, 4, 5]]]


class Linear(Encoder):
    """A pretrained encoder, as small as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6)
        self.norm = nn.BatchNorm1d(6)  # reads no convolution, so that it stays a layer of its own
        self.name, self.origin, self.feature_shape = "linear", "here", (6,)
        self.preprocess = PreprocessSpec(size=1, mean=(0, 0, 0), std=(1, 1, 1))
        self.trained_with_decoder = False

    def forward(self, pixels):
        return self.norm(self.layer(pixels.flatten(1)))


def count(captions):
    return float(len(captions))


def train(folder, encoder=None, score_dev=count, **options):
    """One epoch of made-up data; returns the record, the model, and the dev features."""
    random = np.random.default_rng(0)
    features = random.normal(size=(9, 6) if encoder is None else (9, 3, 1, 1)).astype(np.float32)
    PreparedSplit.save(folder / "train", [([row], [random.integers(4, 12, 3).tolist()]) for row in range(6)])
    PreparedSplit.save(folder / "dev", (([row], each) for row, each in enumerate(DEV, start=6)))
    torch.manual_seed(1)
    model = CaptionModel(build_decoder(DecoderConfig(embed=8, hidden=8, dropout=0.5), SIZES), encoder)
    config = TrainConfig(epochs=1, batch_size=4, accelerator="cpu", seed=3, **options)
    task = CaptionTask(model, config, SPECIAL, score_dev, 8, SIZES)
    splits = (PreparedSplit(folder / name) for name in ("train", "dev"))
    data = CaptionData(*splits, lambda rows: features[rows], SPECIAL, batch_size=4, seed=3)
    return fit(task, data, config, folder / "training", threads=1), model, features[6:]


def test_the_loss_on_dev_is_the_mean_over_words_and_end_tokens_without_dropout(tmp_path):
    record, model, features = train(tmp_path)
    by_hand = []
    with torch.no_grad():
        for feature, captions in zip(features, DEV, strict=True):
            for caption in captions:
                state = model.decoder.start(torch.from_numpy(feature)[None])
                for said, following in zip([SPECIAL.bos, *caption], [*caption, SPECIAL.eos], strict=True):
                    log_probs, state = model.decoder.step(torch.tensor([said]), state)
                    by_hand.append(-float(log_probs[0, following]))
    assert record.history[0]["dev_loss"] == pytest.approx(np.mean(by_hand), rel=1e-5)
    (row,) = csv.DictReader((tmp_path / "training" / LOG).read_text().splitlines())
    assert float(row["dev_loss"]) == record.history[0]["dev_loss"]
    assert list(load_checkpoint(tmp_path / "training" / BEST))


def test_epochs_are_ranked_by_captions_of_the_search_that_is_asked_for(tmp_path):
    found = {}
    for beam in (1, 4):
        scored = []
        _, model, features = train(
            tmp_path / f"{beam}", score_dev=lambda captions, into=scored: into.extend(captions) or 0.0, dev_beam=beam
        )
        search = DecodeConfig(beam=beam, max_length=8)
        best = [each[0].tokens for each in decode(TorchStepModel(model), features, search, SPECIAL)]
        assert [list(tokens) for tokens in scored] == [list(tokens) for tokens in best]
        found[beam] = scored
    assert found[1] != found[4]


def test_a_pretrained_encoder_has_a_rate_of_its_own_and_its_batch_norm_none(tmp_path):
    encoder = Linear()
    encoder.finetune()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    record, model, _ = train(tmp_path, encoder, learning_rate=1e-2, encoder_learning_rate=1e-4, warmup=0.0)
    moved = {name: float((weight - before[name]).abs().max()) for name, weight in model.encoder.state_dict().items()}
    assert 0 < moved["layer.weight"] < 5e-4  # Adam moves about as far as the rate, in two steps
    assert moved["norm.weight"] == moved["norm.running_mean"] == 0
    assert record.history[0]["train_loss"] > 0


def test_the_log_of_a_run_that_an_earlier_version_began_goes_on(tmp_path):
    keep = KeepBest(tmp_path, patience=3)
    keep.load_state_dict({"history": [{"epoch": 1, "dev_cider": 2.0}]})
    keep.history.append({"epoch": 2, "dev_loss": 3.0, "dev_cider": 4.0})
    keep._write_log()
    rows = list(csv.DictReader((tmp_path / LOG).read_text().splitlines()))
    assert [row["dev_cider"] for row in rows] == ["2.0", "4.0"]
    assert [row["dev_loss"] for row in rows] == ["", "3.0"]
