"""Speed of the three parts that take time: features, training, decoding; writes speed.json. See README.md.

python benchmarks/speed.py [--encoder FOLDER_OR_HUB_ID] [--pictures FOLDER] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from made_up import CAPTIONS_EACH, SPECIAL, DecoderTraining, jpeg_files, write_encoder, write_pictures, write_vgg16
from measure import Figure, figure, load_average, parser, passive_threads, positive, ratios, report, timed

from captioner.bundle import DECODER_START, DECODER_STEP
from captioner.config.build import DecoderConfig, EncoderConfig
from captioner.config.decode import DecodeConfig
from captioner.features import FeatureStore, RowReader, extract
from captioner.images import FileSource, load_image
from captioner.training.prepared import PreparedSplit
from captioner.types import Record

Figures = dict[str, Figure]

BATCH = 16
"""Pictures that an encoder sees at a time."""
PLAIN_AT_MOST = 200
"""Pictures for the plain loop, which takes much longer and as long for each."""
CHUNK_STEPS = 10
"""Training steps whose common time gives one rate."""
DECODER = DecoderConfig(inject="par", embed=256, hidden=256)
VOCABULARY, CHANNELS = 2540, 1280
DECODE_BATCH = 64
STEPS_A_CAPTION = 12
"""Tokens of a decoded caption, Flickr8k's mean. Words drawn by random weights would not end by themselves."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    passive_threads()
    options_parser = _parser()
    options = options_parser.parse_args(argv)
    if options.steps <= 2 * CHUNK_STEPS:
        options_parser.error(f"--steps is {options.steps}; expected more than {2 * CHUNK_STEPS}")
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = {
            **measure_extraction(options, folder),
            **measure_training(options, folder),
            **measure_decoding(options, folder),
        }
    settings = {
        "encoder": Path(options.encoder).name if options.encoder else "MobileNetV2, random weights",
        "picture_size": options.size if not options.encoder else "the encoder's",
        "pictures": f"{options.count}; for VGG16 {options.vgg_count}; for the plain loop at most {PLAIN_AT_MOST}",
        "picture_files": "given" if options.pictures else "made up",
        "decoder": f"LSTM, par, {DECODER.embed} embed, {DECODER.hidden} units, {VOCABULARY} words",
        "training_batch": f"{options.batch_size} pictures, {options.batch_size * CAPTIONS_EACH} captions",
        "training_steps": options.steps,
        "decode_batch": DECODE_BATCH,
        "decode_steps": STEPS_A_CAPTION,
    }
    report("speed", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure the speed of feature extraction, training and decoding.")
    options.add_argument("--encoder", default="", metavar="FOLDER_OR_HUB_ID", help="default: random MobileNetV2")
    options.add_argument("--size", type=positive, default=224, metavar="N", help="picture side for the random encoder")
    options.add_argument("--pictures", type=Path, metavar="FOLDER", help="real JPEG files; default: made-up ones")
    options.add_argument("--count", type=positive, default=400, metavar="N", help="pictures, at most")
    options.add_argument(
        "--vgg-count", type=_count, default=0, metavar="N", help="pictures for VGG16 too; 0 leaves it out"
    )
    options.add_argument("--steps", type=positive, default=120, metavar="N", help="training steps in a run")
    options.add_argument("--batch-size", type=positive, default=16, metavar="N", help="pictures in a training batch")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions of everything")
    return options


def _count(text: str) -> int:
    """A number of things, 0 or more, for `argparse`."""
    return 0 if text == "0" else positive(text)


def measure_extraction(options: argparse.Namespace, folder: Path) -> Figures:
    """Pictures/s from JPEG files to stored features, and beside it those of a plain loop in eager PyTorch."""
    paths = _pictures(options, folder)
    if not options.encoder:
        write_encoder(folder / "encoder", options.size)
    encoder = EncoderConfig(encoder=options.encoder or str(folder / "encoder"))
    figures = _extraction("features", encoder, paths, options, folder / "first")
    if options.vgg_count:
        write_vgg16(folder / "vgg16.safetensors")
        vgg16 = EncoderConfig(encoder="vgg16", encoder_weights=str(folder / "vgg16.safetensors"))
        figures |= _extraction("features, VGG16", vgg16, paths[: options.vgg_count], options, folder / "vgg16")
    return figures


def _extraction(
    title: str, config: EncoderConfig, paths: Sequence[Path], options: argparse.Namespace, folder: Path
) -> Figures:
    import torch

    from captioner.export import export_encoder
    from captioner.models.encoders.registry import build_encoder
    from captioner.runtime.session import OnnxEncoder

    encoder = build_encoder(config)
    if encoder.trained_with_decoder:
        raise SystemExit(f"speed.py: {options.encoder} has no features to extract; name a pretrained encoder")
    export_encoder(encoder, folder / "encoder.onnx")
    run, spec = OnnxEncoder(folder / "encoder.onnx"), encoder.preprocess

    def represent(squares: np.ndarray) -> np.ndarray:
        return run(spec.normalize(squares))

    def through_the_store(files: Sequence[Path], name: str) -> None:
        store = FeatureStore(folder / "stores", encoder.feature_shape, "float16", {"run": name})
        records = (Record(path.name, FileSource(path), (), "train") for path in files)
        failed = [each for each in extract(records, store, represent, spec, threads=options.threads) if each.error]
        if failed:
            raise SystemExit(f"speed.py: {len(failed)} of {len(files)} pictures cannot be read; name other ones")

    @torch.inference_mode()
    def plain_loop(files: Sequence[Path]) -> None:
        for start in range(0, len(files), BATCH):
            pixels = np.stack([spec.apply(load_image(path)) for path in files[start : start + BATCH]])
            encoder(torch.from_numpy(pixels)).numpy()

    torch.set_num_threads(options.threads)
    through_the_store(paths[: 2 * BATCH], "warm-up")
    plain_loop(paths[:BATCH])
    ours, plain = [], []
    for turn in range(options.runs):
        ours.append(len(paths) / timed(lambda: through_the_store(paths, f"{turn}")))  # noqa: B023 - called at once
        some = paths[:PLAIN_AT_MOST]
        plain.append(len(some) / timed(lambda: plain_loop(some)))  # noqa: B023 - called at once
    return {
        title: figure(ours, "pictures/s"),
        f"{title}, eager PyTorch": figure(plain, "pictures/s"),
        f"{title}, ratio to eager": figure(ratios(ours, plain), "ratio"),
    }


def _pictures(options: argparse.Namespace, folder: Path) -> list[Path]:
    if not options.pictures:
        return write_pictures(folder / "pictures", options.count)
    return jpeg_files(options.pictures)[: options.count]


class TimedReader:
    """A row reader that notes when it is asked: training reads once a step, so the gaps are the times of the steps."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self.asked_at: list[float] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number as float32, as `captioner.pipeline.features` hands them to training."""
        self.asked_at.append(time.perf_counter())
        return self._reader(rows).astype(np.float32)


def measure_training(options: argparse.Namespace, folder: Path) -> Figures:
    """Captions/s of steps of `fit`, start-up and dev captioning left out, and their share of what sgemm reaches."""
    pictures = options.steps * options.batch_size
    training = DecoderTraining(DECODER, VOCABULARY, CHANNELS, pictures, dev_pictures=1, batch_size=options.batch_size)
    data = folder / "training"
    training.prepare(data)
    split = PreparedSplit(data / "train")
    tokens = np.mean([len(caption) + 1 for picture in range(len(split)) for caption in split.captions(picture)])
    captions = options.batch_size * CAPTIONS_EACH
    counts = sorted({options.threads, 1}, reverse=True)
    rates: dict[int, list[float]] = {threads: [] for threads in counts}
    sgemm: dict[int, list[float]] = {threads: [] for threads in counts}
    shares: dict[int, list[float]] = {threads: [] for threads in counts}
    for turn in range(options.runs):
        for threads in counts:
            sgemm[threads].append(_sgemm_gigaflops(round(captions * tokens), threads))
            reader = TimedReader(training.reader(data))
            training.train(data, reader, folder / f"checkpoints-{turn}-{threads}", threads)
            # The first steps warm up, and what is read after the last step is dev.
            marks = reader.asked_at[CHUNK_STEPS : options.steps : CHUNK_STEPS]
            chunks = [captions * CHUNK_STEPS / seconds for seconds in np.diff(marks).tolist()]
            rates[threads] += chunks
            shares[threads].append(median(chunks) * _gigaflops_a_caption(float(tokens)) / sgemm[threads][-1])
    figures: Figures = {}
    for threads in counts:
        title = f"{threads} thread{'s' if threads > 1 else ''}"
        figures[f"training, {title}"] = figure(rates[threads], "captions/s")
        figures[f"sgemm, {title}"] = figure(sgemm[threads], "GFLOP/s")
        figures[f"training, share of sgemm, {title}"] = figure(shares[threads], "ratio")
    return figures


def _gigaflops_a_caption(tokens: float) -> float:
    """Of the matrix products of one training step; the backward pass has two for each of the forward pass."""
    lstm = 4 * DECODER.hidden * (2 * DECODER.embed + DECODER.hidden)
    words = DECODER.hidden * VOCABULARY
    picture = CHANNELS * DECODER.embed / CAPTIONS_EACH
    return 3 * 2 * (tokens * (lstm + words) + picture) / 1e9


def _sgemm_gigaflops(rows: int, threads: int) -> float:
    """The rate of the largest product of a step: (rows, hidden) × (hidden, vocabulary), float32."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.rand(rows, DECODER.hidden), torch.rand(DECODER.hidden, VOCABULARY)
    product = torch.mm(left, right)
    repeats = 30
    seconds = median(timed(lambda: torch.mm(left, right, out=product)) for _ in range(repeats))
    return 2 * rows * DECODER.hidden * VOCABULARY / seconds / 1e9


def measure_decoding(options: argparse.Namespace, folder: Path) -> Figures:
    """Captions/s from features, over exported graphs."""
    import torch

    from captioner.decoding.decode import decode
    from captioner.export import export_decoder
    from captioner.models.decoders.base import DecoderSizes
    from captioner.models.decoders.registry import build_decoder
    from captioner.runtime.onnx_step import OnnxStepModel

    torch.manual_seed(0)
    sizes = DecoderSizes((CHANNELS,), VOCABULARY, SPECIAL.pad)
    export_decoder(build_decoder(DECODER, sizes), sizes, folder)
    steps = OnnxStepModel(folder / DECODER_START, folder / DECODER_STEP, options.threads)
    features = np.random.default_rng(0).random((DECODE_BATCH, CHANNELS), np.float32)
    figures: Figures = {}
    for name, beam in (("greedy", 1), ("beam 3", 3)):
        # Captions of exactly this length: the end is forbidden before, and nothing is looked for after it.
        config = DecodeConfig(beam=beam, max_length=STEPS_A_CAPTION, min_length=STEPS_A_CAPTION - 1)
        decode(steps, features, config, SPECIAL)
        rates = [
            DECODE_BATCH / timed(lambda: decode(steps, features, config, SPECIAL))  # noqa: B023 - called at once
            for _ in range(3 * options.runs)
        ]
        figures[f"decoding, {name}"] = figure(rates, "captions/s")
    return figures


if __name__ == "__main__":
    sys.exit(main())
