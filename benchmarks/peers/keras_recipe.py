"""The classic tutorial recipe in Keras: trained from a generator that makes a sample a word; then a caption, cold.

    python benchmarks/peers/keras_recipe.py train DATA DECODER --epochs 3 --write FILE
    python benchmarks/peers/keras_recipe.py caption PICTURE DECODER

VGG16's last hidden layer and the words so far, read by an LSTM, are added, and a dense layer predicts the next word
(the merge model). Every word of every caption is a sample with the picture's features, the words before it, padded, and
the word as a vector with a single 1; the samples of one picture are a batch. To caption, the network is asked for one
word at a time. Written from that description. Runs in an environment of its own (requirements.txt) and knows nothing of
captioner.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import keras
import learnable
import numpy as np
import tensorflow as tf
from learnable import BEGIN, END, PAD, Split

LONGEST = 34
"""Words that a prefix is padded to, begin and end counted: those of Flickr8k's longest caption, in the tutorial."""

Sample = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]
"""Features (samples, channels) and words so far (samples, LONGEST); the words after them (samples, vocab)."""


class EpochClock(keras.callbacks.Callback):
    """Notes how long each epoch takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self._started)


def main(argv: Sequence[str] | None = None) -> int:
    """Train or caption; returns the exit status."""
    options = _parser().parse_args(argv)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    if options.verb == "train":
        options.write.write_text(json.dumps(train(options)), encoding="utf-8")
    else:
        print(caption(options.picture, options.decoder, options.words))
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description="Train or caption as the classic tutorial does.")
    verbs = options.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    training.add_argument("data", type=Path, help="what learnable.py wrote")
    training.add_argument("decoder", type=Path, help="where the trained model goes, .keras")
    training.add_argument("--vocabulary", type=int, default=2540, help="token ids")
    training.add_argument("--units", type=int, default=256, help="numbers in a word vector, and of the LSTM")
    training.add_argument("--batch-size", type=int, default=1, help="pictures whose samples are a batch")
    training.add_argument("--epochs", type=int, default=3)
    training.add_argument("--write", type=Path, required=True, help="JSON file for what was measured")
    captioning = verbs.add_parser("caption", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    captioning.add_argument("picture", type=Path)
    captioning.add_argument("decoder", type=Path, help="what `train` saved")
    captioning.add_argument("--words", type=int, default=12, help="of the caption")
    for verb in (training, captioning):
        verb.add_argument("--threads", type=int, default=2)
    return options


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, save, and return seconds of every epoch and, after the last, the loss on the held-out pictures."""
    learned, held_out = learnable.read(options.data)
    keras.utils.set_random_seed(1)
    model = merge_model(learned.features.shape[1], options.vocabulary, options.units)
    clock = EpochClock()
    model.fit(
        batches(learned, options.vocabulary, options.batch_size),
        steps_per_epoch=-(-len(learned.captions) // options.batch_size),
        epochs=options.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[clock],
    )
    loss = loss_per_token(model, held_out, options.vocabulary)
    model.save(options.decoder)
    versions = f"Keras {keras.__version__}, TensorFlow {tf.__version__}"
    return {"epoch_seconds": clock.seconds, "losses": [loss], "versions": versions}


def merge_model(channels: int, vocabulary: int, units: int) -> keras.Model:
    """Features and the LSTM's reading of the words so far, added; a layer on that; a softmax over the words."""
    features = keras.Input((channels,))
    picture = keras.layers.Dense(units, activation="relu")(keras.layers.Dropout(0.5)(features))
    words = keras.Input((LONGEST,))
    vectors = keras.layers.Embedding(vocabulary, units, mask_zero=True)(words)
    reading = keras.layers.LSTM(units)(keras.layers.Dropout(0.5)(vectors))
    joined = keras.layers.Dense(units, activation="relu")(keras.layers.add([picture, reading]))
    model = keras.Model([features, words], keras.layers.Dense(vocabulary, activation="softmax")(joined))
    model.compile(loss="categorical_crossentropy", optimizer="adam")
    return model


def batches(split: Split, vocabulary: int, pictures: int) -> Iterator[Sample]:
    """The samples of so many pictures at a time, again and again from the start."""
    while True:
        for start in range(0, len(split.captions), pictures):
            numbers = range(start, min(start + pictures, len(split.captions)))
            yield samples(split, numbers, vocabulary)


def samples(split: Split, pictures: Sequence[int], vocabulary: int) -> Sample:
    """One for every word and end of the captions of some pictures."""
    features, prefixes, nexts = [], [], []
    for picture in pictures:
        for words in split.captions[picture]:
            tokens = [BEGIN, *words, END]
            for place in range(1, len(tokens)):
                features.append(split.features[picture])
                prefixes.append(keras.utils.pad_sequences([tokens[:place]], maxlen=LONGEST, value=PAD)[0])
                nexts.append(keras.utils.to_categorical([tokens[place]], num_classes=vocabulary)[0])
    return (np.array(features, np.float32), np.array(prefixes)), np.array(nexts)


def loss_per_token(model: keras.Model, split: Split, vocabulary: int) -> float:
    """Mean negative log-likelihood of every word and end, in nats."""
    surprises = []
    for picture in range(len(split.captions)):
        inputs, nexts = samples(split, [picture], vocabulary)
        probabilities = model.predict_on_batch(inputs)
        surprises.append(-np.log((probabilities * nexts).sum(axis=1)))
    return float(np.concatenate(surprises).mean())


def caption(picture: Path, decoder: Path, words: int) -> str:
    """A caption of so many words: VGG16, whose random weights take as long as others, and one prediction a word."""
    model = keras.models.load_model(decoder)
    features = _vgg16(model.input_shape[0][1])
    pixels = keras.utils.img_to_array(keras.utils.load_img(picture, target_size=(224, 224)))[None]
    seen = features.predict(keras.applications.vgg16.preprocess_input(pixels), verbose=0)
    tokens = [BEGIN]
    for _ in range(words):
        prefix = keras.utils.pad_sequences([tokens], maxlen=LONGEST, value=PAD)
        tokens.append(int(np.argmax(model.predict((seen, prefix), verbose=0)[0])))
    return " ".join(f"word{token}" for token in tokens[1:])


def _vgg16(channels: int) -> keras.Model:
    """Its last hidden layer of 4,096 numbers, as in the tutorial; or its 512 channels, averaged over the positions."""
    if channels == 512:
        return keras.applications.VGG16(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    whole = keras.applications.VGG16(weights=None)
    return keras.Model(whole.inputs, whole.layers[-2].output)


if __name__ == "__main__":
    sys.exit(main())
