"""Going on from a finished captioner: words keep their ids, weights their values; what contradicts it is refused."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.bundle import PRETRAINED, load_bundle  # noqa: E402
from captioner.cli.build import parse  # noqa: E402
from captioner.config.build import DecoderConfig  # noqa: E402
from captioner.errors import ConfigError, WeightsError  # noqa: E402
from captioner.export import load_weights  # noqa: E402
from captioner.models.caption_model import build_caption_model, grow_from  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.pipeline.origin import LEARNING_RATE, settled  # noqa: E402
from captioner.text.vocabulary import Vocabulary  # noqa: E402

KINDS = [
    DecoderConfig(embed=6, hidden=8, inject="par"),
    DecoderConfig(embed=6, hidden=8, inject="merge", tie_weights=True),
    DecoderConfig(embed=6, hidden=6, inject="pre"),
    DecoderConfig(embed=6, hidden=8, inject="init"),
    DecoderConfig(decoder="attention", embed=6, hidden=8),
    DecoderConfig(decoder="attention", embed=6, hidden=8, tie_weights=True),
    DecoderConfig(decoder="transformer", hidden=8, heads=2, layers=1),
]


def options_of(*arguments):
    return parse(["--data", "scenes", *arguments])[0]


def test_another_way_to_cut_words_is_refused():
    with pytest.raises(ConfigError, match="--tokenizer subwords: the captioner of --from has words, and keeps them"):
        options_of("--from", "pretrained", "--tokenizer", "subwords")
    assert options_of("--from", "pretrained", "--tokenizer", "words").origin == "pretrained"


def test_new_words_come_behind_the_old_ones():
    old = Vocabulary.build(["a dog runs", "a dog"], 1)
    captions = ["a zebra runs", "a zebra", "an okapi"]
    new = old.extended(captions, 2)
    assert new.words == (*old.words, "zebra")
    assert new.encode("a dog runs") == old.encode("a dog runs")
    assert old.extended(captions, 1).words == (*old.words, "zebra", "an", "okapi")
    assert old.extended(["a dog runs"], 1) == old


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.decoder}-{kind.inject}-{kind.tie_weights}")
def test_old_words_keep_their_weights_and_are_as_probable_beside_one_another(kind):
    shape = (10,) if kind.decoder == "lstm" else (4, 10)
    sizes = DecoderSizes(shape, 12, pad=0)
    old = build_caption_model(kind, sizes, seed=1).eval()
    new = build_caption_model(kind, replace(sizes, vocabulary=15), seed=2).eval()
    grow_from(new, old.state_dict(), 12)
    for name, weight in old.state_dict().items():
        grown = new.state_dict()[name]
        assert torch.equal(grown[: len(weight)] if grown.shape != weight.shape else grown, weight)
    features = torch.randn(3, *shape)
    tokens = torch.tensor([1, 5, 7])
    with torch.inference_mode():
        before, _ = old.decoder.step(tokens, old.decoder.start(features))
        after, _ = new.decoder.step(tokens, new.decoder.start(features))
    after_among_old = torch.log_softmax(after[:, :12], dim=-1)
    torch.testing.assert_close(after_among_old, torch.log_softmax(before, dim=-1), atol=1e-5, rtol=1e-5)
    new_rows = new.decoder.word_layer.weight[12:]
    assert len({tuple(row) for row in new_rows.tolist()}) == 3  # told apart from the beginning


def test_another_decoder_is_not_gone_on_from():
    sizes = DecoderSizes((10,), 12, pad=0)
    lstm = build_caption_model(KINDS[0], sizes)
    larger = build_caption_model(DecoderConfig(embed=6, hidden=9), replace(sizes, vocabulary=15))
    with pytest.raises(WeightsError, match="of shape"):
        grow_from(larger, lstm.state_dict(), 12)
    attention = build_caption_model(KINDS[4], DecoderSizes((4, 10), 15, pad=0))
    with pytest.raises(WeightsError, match="of another kind"):
        grow_from(attention, lstm.state_dict(), 12)


def test_the_captioner_that_ships_gives_its_weights_to_more_words():
    bundle = load_bundle(PRETRAINED)
    decoder = bundle.manifest.decoder
    names = DecoderConfig.__dataclass_fields__
    config = DecoderConfig(**{name: decoder[name] for name in names})
    sizes = DecoderSizes(tuple(decoder["feature_shape"]), len(bundle.vocabulary), pad=0)
    weights = load_weights(bundle.folder, build_caption_model(config, sizes))
    grown = build_caption_model(config, replace(sizes, vocabulary=len(bundle.vocabulary) + 2))
    grow_from(grown, weights, len(bundle.vocabulary))
    assert torch.equal(grown.decoder.word_vectors.weight[:-2], weights["decoder.word_vectors.weight"])


def test_network_and_search_follow_from_the_captioner():
    manifest = load_bundle(PRETRAINED).manifest
    config = options_of("--from", "pretrained")
    assert config.decoder.decoder == manifest.decoder["decoder"]
    assert (config.encoder.encoder, config.encoder.features) == ("builtin", manifest.encoder["features"])
    assert config.encoder.mirrored == manifest.encoder["mirrored"]
    assert config.decode == manifest.decode
    assert config.train.learning_rate == LEARNING_RATE
    given = options_of(
        *("--from", "pretrained", "--encoder", "builtin", "--features", manifest.encoder["features"]),
        *("--learning-rate", "0.002", "--beam", "2", "--dropout", "0.1"),
    )
    assert (given.train.learning_rate, given.decode.beam, given.decoder.dropout) == (0.002, 2, 0.1)
    assert given.decoder.hidden == manifest.decoder["hidden"]


def test_a_file_says_it_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("data: scenes\nfrom: pretrained\nepochs: 3\n")
    config, _ = parse(["--config", str(tmp_path / "mine.yaml")])
    assert (config.origin, config.encoder.encoder, config.train.epochs) == ("pretrained", "builtin", 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "nowhere"], "--from nowhere is no finished build or bundle"),
        (["--from", "pretrained", "--hidden", "100"], r"--hidden 100: the captioner of --from has \d+, and keeps it"),
        (["--from", "pretrained", "--encoder", "small_cnn"], "small_cnn: the captioner of --from has builtin"),
        (["--from", "pretrained", "--features", "pooled"], "--features pooled: the captioner of --from has grid"),
        (["--from", "pretrained", "--finetune", "true"], "--finetune True: the captioner of --from has False"),
        (["--from", "pretrained", "--picture-size", "64"], "--picture-size 64"),
        (["--from", "pretrained", "--start-from", "runs/x"], "--from and --start-from: choose one"),
        (["--from", "pretrained", "--teachers", "runs/x"], "--from and --teachers: choose one"),
    ],
)  # fmt: skip
def test_what_contradicts_the_captioner_is_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        options_of(*arguments)


def test_without_a_captioner_nothing_changes():
    config = options_of()
    assert settled(config, set()) is config
    assert np.isclose(config.train.learning_rate, 2e-3)
