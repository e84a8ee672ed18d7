"""The options of a build. Knows nothing of YAML or flags.

`cli/build.py` derives the flags and the YAML keys of `build_and_run.py` from these classes: a field's name is its flag
and its key, the sentence under `Args:` is its help text. What Python gives is held to the same types as flags.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.config.checks import MAX_THREADS, check_types, one_of, require
from captioner.config.decode import MAX_BEAM, MAX_LENGTH, DecodeConfig

AUTO = "auto"
BUILTIN = "builtin"
SHIPPED = "pretrained"
"""What `--from` calls the captioner that ships with the package."""
ENCODERS = (AUTO, "vgg16", BUILTIN, "small_cnn")
"""Encoders by name; anything else is a `transformers` hub id or a local folder."""
DECODERS = ("lstm", "attention", "transformer")
SELF_CRITICAL = ("off", "mean", "greedy")
INJECT = ("par", "init", "pre", "merge")
TOKENIZERS = (AUTO, "words", "subwords")
MIN_PIECES, MAX_PIECES = 16, 1_000_000
FEATURE_KINDS = ("pooled", "grid")
FRAMINGS = ("whole", "center")
QUANTIZATIONS = ("none", "int8")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
MAX_VIEWS = 32
MAX_KEPT_PICTURES = 1_000_000


@dataclass(frozen=True)
class DataConfig:
    """Where pictures and captions come from.

    Args:
        data: `scenes` (drawn by the package, no download; `scenes:de`, `scenes:ar` and `scenes:zh` with German, Arabic
            and Chinese captions), or a folder or file with pictures and captions; `captioner doctor` says how it is
            read.
        format: layout of the data, for example `coco` or `table`; `auto` recognises it.
        image_column: column or field that names the picture or holds its bytes; empty finds it.
        caption_column: column or field with the caption or captions; empty finds it.
        limit: use only the first N pictures of each split, for trying things; 0 uses all.
        tokenizer: `words`; `subwords`, pieces of words (Sennrich et al. 2016), for scripts without spaces between words
            and for very many words; `auto` looks at the training captions.
        vocabulary_size: of `subwords`, at most so many pieces.
        min_count: a word, or a piece, must occur this often in the training captions to enter the vocabulary.
        max_words: longer captions are cut to this many words or pieces for training; at most 999.
        max_bad_share: stop when more than this share of the pictures is missing, corrupt or without a caption.
    """

    data: str = "scenes"
    format: str = AUTO
    image_column: str = ""
    caption_column: str = ""
    limit: int = 0
    tokenizer: str = AUTO
    vocabulary_size: int = 8000
    min_count: int = 5
    max_words: int = 30
    max_bad_share: float = 0.05

    def __post_init__(self) -> None:
        check_types(self)
        require(self.limit >= 0, "limit", self.limit, "0 (all) or a positive number of pictures")
        one_of("tokenizer", self.tokenizer, TOKENIZERS)
        expected = f"{MIN_PIECES} to {MAX_PIECES}"
        require(MIN_PIECES <= self.vocabulary_size <= MAX_PIECES, "vocabulary_size", self.vocabulary_size, expected)
        require(self.min_count >= 1, "min_count", self.min_count, "1 or more")
        most = MAX_LENGTH - 1  # the end token follows
        require(1 <= self.max_words <= most, "max_words", self.max_words, f"1 to {most}")
        require(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "a share between 0 and 1")


@dataclass(frozen=True)
class EncoderConfig:
    """The network that looks at the picture.

    Args:
        encoder: `auto` (`vgg16` where its weights are named, kept or can be fetched, else `builtin`), `vgg16`,
            `builtin` (that of the captioner which ships with the package: small, quick, no download), `small_cnn`
            (trained from scratch with the decoder), the folder of a finished build or bundle, whose encoder is taken as
            it is, or the hub id or local folder of any `transformers` vision model.
        encoder_weights: weights file for `vgg16`: torchvision .pth, timm .safetensors or Keras "notop" .h5; empty
            fetches the Keras file once.
        features: `pooled` gives the decoder one vector a picture, `grid` one vector a region.
        framing: `whole` squeezes the whole frame into the encoder's square, `center` cuts the square out of the middle
            as the encoder's own recipe does.
        picture_size: side of that square in pixels; 0 is what the encoder was trained at. A larger one shows more
            detail, and gives a grid of more regions, for more time.
        views: ways to see each training picture, of which every epoch takes one at random: 1 is the picture itself, 2
            its mirror image too, and further ones are random parts of it. Each is kept in the feature store.
        mirrored: look at every picture and at its mirror image, and take the mean of what is seen at each place: better
            features for twice the time. Leave it off where captions tell left from right; not with encoders that are
            trained, which see mirror images by `--views`.
        finetune: train a pretrained encoder further, together with the decoder; what its batch norm has learned stays.
            Begin with a decoder that has learned before (`--start-from`).
        frozen: with --finetune, share of the encoder's layers that stay as they are, counted from the picture on: the
            first ones see edges and colours, as useful for one task as for another, and cost most of the time.
    """

    encoder: str = AUTO
    encoder_weights: str = ""
    features: str = "pooled"
    framing: str = "whole"
    picture_size: int = 0
    views: int = 1
    mirrored: bool = False
    finetune: bool = False
    frozen: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.picture_size <= 1024, "picture_size", self.picture_size, "0 (the encoder's own) to 1024")
        require(1 <= self.views <= MAX_VIEWS, "views", self.views, f"1 to {MAX_VIEWS}")
        require(not (self.mirrored and self.finetune), "mirrored", self.mirrored, "false with --finetune")
        require(0 <= self.frozen < 1, "frozen", self.frozen, "a share from 0 up to, not including, 1")
        require(bool(self.encoder), "encoder", self.encoder, "a name, a hub id or a folder")
        one_of("features", self.features, FEATURE_KINDS)
        one_of("framing", self.framing, FRAMINGS)


@dataclass(frozen=True)
class DecoderConfig:
    """The network that writes the words.

    Args:
        decoder: which family: `lstm` sees the picture as a whole; `attention` looks at the regions of a grid anew for
            every word (Anderson et al. 2018), and `transformer` at these and at all words before (Vaswani et al. 2017);
            both want `--features grid`.
        inject: where the picture enters the LSTM (Tanti, Gatt and Camilleri 2018): `par` beside every word, `init` as
            the first state, `pre` as the first word, `merge` after the LSTM.
        embed: numbers in a word vector, and in the projected picture vector; `transformer` has `hidden` of them.
        hidden: units of each LSTM; width of the Transformer.
        layers: of the Transformer.
        heads: of its attention; the width must be a multiple of it.
        dropout: share of the numbers dropped from word vectors, picture vector and LSTM output in training.
        tie_weights: predict words with the transposed word vectors instead of a matrix of their own, as `transformer`
            does in any case.
    """

    decoder: str = "lstm"
    inject: str = "par"
    embed: int = 256
    hidden: int = 512
    layers: int = 3
    heads: int = 8
    dropout: float = 0.3
    tie_weights: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        one_of("decoder", self.decoder, DECODERS)
        one_of("inject", self.inject, INJECT)
        require(1 <= self.embed <= 8192, "embed", self.embed, "1 to 8192")
        require(1 <= self.hidden <= 8192, "hidden", self.hidden, "1 to 8192")
        require(1 <= self.layers <= 64, "layers", self.layers, "1 to 64")
        require(1 <= self.heads <= 64, "heads", self.heads, "1 to 64")
        if self.decoder == "transformer":
            parts = 2 * self.heads if self.heads % 2 else self.heads
            require(self.hidden % parts == 0, "hidden", self.hidden, f"an even multiple of --heads, {self.heads}")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a share from 0 up to, not including, 1")


@dataclass(frozen=True)
class TrainConfig:
    """How the decoder learns.

    Args:
        epochs: at most this many passes over the training pictures; 0 takes what `--start-from` gives as it is.
        batch_size: pictures in a batch, of all processes together; each brings all its captions.
        start_from: folder of a finished build or bundle to begin with the weights of, instead of fresh ones; it must
            have the same decoder and be trained on the same words. Of several folders, with commas between them, the
            mean of the weights (Wortsman et al. 2022); for those that began with the same weights themselves.
        learning_rate: the highest rate of AdamW, reached after warm-up, then falling as a cosine; 0.0005 with --from,
            where no other is given.
        encoder_learning_rate: the same for a pretrained encoder that is trained further.
        weight_decay: of AdamW, on matrices only.
        warmup: share of all steps over which the rate rises from zero.
        label_smoothing: share of the target's probability spread evenly over the vocabulary.
        attend_all: weight of a further loss that asks `attention` to look at every region about equally over a caption
            (Xu et al. 2015, equation 14, the doubly stochastic term).
        self_critical: learn from captions that the model draws itself, by their CIDEr-D beyond a baseline, instead of
            from the true ones (Rennie et al. 2017): `mean` takes the mean of the other captions drawn for the picture
            as the baseline (Luo 2020), `greedy` the model's greedy caption, `off` learns from the true captions. Only
            for a model that has learned to write (`--start-from`), at a low learning rate.
        ground: with --self-critical, weight of the loss on the true captions beside it, which keeps the captioner from
            forgetting how people write (Paulus, Xiong and Socher 2017, arXiv 1705.04304, equation 16); 0 for none.
        samples: captions drawn for each picture in self-critical training.
        teachers: folders of finished builds or bundles, with commas between them, to learn from word by word as well
            (Hinton et al. 2015); they must know the same words and look at the same features.
        distill: share of the loss that is learning from the teachers; the rest is learning from the true captions.
        keep: with --from, share of the loss that asks for what the captioner expected before it learned anything
            new, so that it forgets less (Li and Hoiem 2016, arXiv 1606.09282); 0 learns the new captions alone, and
            faster.
        average: keep a moving average of the weights beside them, and take that for the model: the share of the old
            average at every step, for example 0.999; 0 keeps none.
        word_presence: weight of a further loss that asks for the words of the captions from the picture alone; helps an
            encoder that starts from scratch to see.
        clip: gradients are scaled down to this norm.
        patience: stop after this many epochs without a better CIDEr on dev.
        dev_beam: beam of the search that writes the captions by which epochs are ranked; 1 is greedy, which is quick. A
            larger one ranks by what the captioner is for, where a few points between epochs matter.
        seed: of everything random; the same seed gives the same weights on a CPU.
        threads: processor threads, at most 256; 0 takes all cores that this process may use.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        accelerator: as in Lightning: `auto`, `cpu`, `gpu`, `cuda`, `mps` or `tpu`.
        devices: how many GPUs or processes; 0 takes all GPUs. Each takes its share of every batch, so that the
            captioner is that of one process, but for rounding and dropout.
    """

    epochs: int = 12
    batch_size: int = 32
    start_from: str = ""
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    label_smoothing: float = 0.0
    attend_all: float = 0.0
    self_critical: str = "off"
    ground: float = 0.1
    samples: int = 5
    teachers: str = ""
    distill: float = 0.5
    keep: float = 0.3
    average: float = 0.0
    word_presence: float = 0.0
    clip: float = 5.0
    patience: int = 4
    dev_beam: int = 1
    seed: int = 1
    threads: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        least = 0 if self.start_from else 1
        require(self.epochs >= least, "epochs", self.epochs, f"{least} or more")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        require(self.encoder_learning_rate > 0, "encoder_learning_rate", self.encoder_learning_rate, "more than 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.warmup < 1, "warmup", self.warmup, "a share from 0 up to, not including, 1")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "a share below 1")
        require(self.attend_all >= 0, "attend_all", self.attend_all, "0 (off) or more")
        one_of("self_critical", self.self_critical, SELF_CRITICAL)
        if self.self_critical != "off":
            expected = "a finished build or bundle with --self-critical: only a model that writes can learn from that"
            require(bool(self.start_from), "start_from", self.start_from, expected)
            expected = "empty with --self-critical, which learns from no true captions"
            require(not self.teachers, "teachers", self.teachers, expected)
        require(0 < self.distill <= 1, "distill", self.distill, "a share above 0, at most 1")
        require(0 <= self.keep < 1, "keep", self.keep, "a share below 1")
        require(self.ground >= 0, "ground", self.ground, "0 (off) or more")
        require(2 <= self.samples <= 100, "samples", self.samples, "2 to 100")
        require(0 <= self.average < 1, "average", self.average, "a share below 1")
        require(self.word_presence >= 0, "word_presence", self.word_presence, "0 (off) or more")
        require(self.clip > 0, "clip", self.clip, "more than 0")
        require(self.patience >= 1, "patience", self.patience, "1 or more")
        require(1 <= self.dev_beam <= MAX_BEAM, "dev_beam", self.dev_beam, f"1 to {MAX_BEAM}")
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")
        require(0 <= self.threads <= MAX_THREADS, "threads", self.threads, f"0 (all cores) to {MAX_THREADS}")
        one_of("precision", self.precision, PRECISIONS)
        one_of("accelerator", self.accelerator, ACCELERATORS)
        require(0 <= self.devices <= 9999, "devices", self.devices, "0 (all) to 9999")


@dataclass(frozen=True)
class ExportConfig:
    """What the graphs that ship are like.

    Args:
        quantize: `none`, or `int8`: the decoder in a quarter of the size, and the encoder too when this build has
            trained it; a frozen one stays as it was when it computed the features.
        keep_weights: put the weights into the bundle as well, to go on training from.
        encoder_licence: of the weights that the encoder began with, for the manifest.
        data_licence: what pictures and captions may be used for, for the manifest.
        model_card: Markdown file for people, which goes into the bundle as `model-card.md`.
        neighbours: at most so many training pictures, spread evenly over all, go into the bundle as what the encoder
            saw in them, with their captions, to be shown beside new captions ("because of these"); 0 puts in none. Who
            has the bundle can read these captions.
    """

    quantize: str = "none"
    keep_weights: bool = True
    encoder_licence: str = ""
    data_licence: str = ""
    model_card: str = ""
    neighbours: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        one_of("quantize", self.quantize, QUANTIZATIONS)
        expected = f"0 (none) to {MAX_KEPT_PICTURES} pictures"
        require(0 <= self.neighbours <= MAX_KEPT_PICTURES, "neighbours", self.neighbours, expected)


@dataclass(frozen=True)
class BuildConfig:
    """All the options of one build."""

    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    decode: DecodeConfig = DecodeConfig()  # noqa: RUF009 - frozen, as the others are
    origin: str = ""
    """The option `from`: folder of a finished build or bundle to go on from, or `pretrained`; empty begins anew."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.decoder.decoder != "lstm" and not self.origin:
            expected = f"grid with --decoder {self.decoder.decoder}: one vector a picture leaves nothing to look for"
            require(self.encoder.features == "grid", "features", self.encoder.features, expected)
