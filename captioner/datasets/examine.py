"""Looks a data set over before a minute is spent on it: what it is, what is wrong with it, and what mends that.

Nothing is changed. Memory depends on the number of different words, and by some 200 bytes each on that of the pictures,
which are compared with one another; records are streamed.

(Longer than 300 lines: findings and their remedies are one list.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from captioner.datasets.collection import Collection, Groups
from captioner.datasets.problems import LINE_KINDS, NAMES_SHOWN, PICTURE_KINDS, ProblemKind
from captioner.text.language import guess_language
from captioner.text.scripts import words_or_characters

MIN_COUNTS = (1, 2, 3, 5, 10)
"""The minimum counts for which the size of the vocabulary is given."""
SAMPLES = 3
_FOR_LANGUAGE = 2000
_OFTEN = 0.02  # a caption that this share of all captions repeats is learned by heart
_FEW = 1000
_MISREAD = re.compile(
    r"\ufffd|[ÃÂ][\x80-\xbf\u2018-\u203a€™œž]|â€|ï»¿|&(?:amp|quot|apos|lt|gt|nbsp|#\d+);|[\x00-\x08\x0e-\x1f]"
)
"""What text looks like that was read in the wrong encoding, or still is HTML."""


class Severity(StrEnum):
    """How much a finding matters."""

    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """A build leaves something out, or its figures mean less."""
    ERROR = "error"
    """A build would stop."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found."""

    code: str
    """A short word for programs, stable between releases."""
    severity: Severity
    """How much it matters."""
    text: str
    """What it is, in one line."""
    count: int
    """How often."""
    examples: tuple[str, ...]
    """The first few names."""
    remedy: str
    """The command or the edit that mends it."""


@dataclass(frozen=True)
class Examination:
    """All that is told of a data set."""

    data: str
    """Where it is."""
    layout: str
    """The label of its layout."""
    reading: str
    """How it is read."""
    files: tuple[str, ...]
    """The files that are read."""
    splits: dict[str, int]
    """Pictures in each split that a build would use."""
    own_splits: bool
    """Whether the splits come with the data."""
    pictures: int
    """In all splits."""
    captions: int
    """Of these pictures."""
    captions_per_picture: tuple[int, float, int]
    """The least, the mean, the most."""
    words_per_caption: tuple[int, float, int]
    """Likewise; of scripts without spaces, characters count."""
    language: str
    """A guess."""
    vocabulary: dict[int, int]
    """How many words, or characters, occur so often in the training captions: minimum count → words."""
    samples: tuple[tuple[str, tuple[str, ...]], ...]
    """The first records: name of the picture, captions."""
    findings: tuple[Finding, ...]
    """The worst first."""

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding, None without any."""
        return self.findings[0].severity if self.findings else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def examine(collection: Collection, *, max_words: int = 30, max_bad_share: float = 0.05) -> Examination:
    """Look a data set over.

    Args:
        collection: the data set; where it was looked at (`look`), copies and corrupt pictures are found too.
        max_words: a build cuts longer captions.
        max_bad_share: a build stops when more than this share of the pictures is bad.
    """
    texts = _Texts(collection, max_words)
    splits = {split: collection.index.split_counts()[split] for split in collection.splits}
    findings = [
        *_problems(collection, texts.captions, max_bad_share),
        *_splits(splits, guess_language(texts.for_language)),
        *(_copies(collection, collection.groups()) if collection.looked_at else ()),
        *texts.findings(),
    ]
    order = list(Severity)[::-1]
    return Examination(
        data=collection.name,
        layout=collection.layout.label,
        reading=collection.layout.reading,
        files=tuple(map(str, collection.layout.files)),
        splits=splits,
        own_splits=collection.has_splits,
        pictures=texts.pictures,
        captions=texts.captions,
        captions_per_picture=texts.captions_per_picture,
        words_per_caption=texts.words_per_caption,
        language=guess_language(texts.for_language),
        vocabulary={least: sum(count >= least for count in texts.counts.values()) for least in MIN_COUNTS},
        samples=tuple(texts.samples),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


class _Texts:
    """One pass over all captions."""

    def __init__(self, collection: Collection, max_words: int) -> None:
        self._index = collection.index
        self._max_words = max_words
        self.counts: Counter[str] = Counter()
        self.samples: list[tuple[str, tuple[str, ...]]] = []
        self.for_language: list[str] = []
        self.pictures = self.captions = 0
        each, long = _Extent(), _Extent()
        self._too_long, self._misread, self._twice = _Named(), _Named(), _Named()
        for split in collection.splits:
            for picture in self._index.pictures(split):
                self.pictures += 1
                self.captions += len(picture.captions)
                each.add(len(picture.captions))
                if len(self.samples) < SAMPLES:
                    self.samples.append((picture.name, picture.captions))
                if len(self.for_language) < _FOR_LANGUAGE:
                    self.for_language += picture.captions
                if len(set(picture.captions)) < len(picture.captions):
                    self._twice.add(picture.name)
                for caption in picture.captions:
                    said = words_or_characters(caption)
                    long.add(len(said))
                    if split == "train":
                        self.counts.update(said)
                    if len(said) > max_words:
                        self._too_long.add(picture.name)
                    if _MISREAD.search(caption):
                        self._misread.add(picture.name)
        self.captions_per_picture, self.words_per_caption = each.extent(), long.extent()

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the captions."""
        if self._misread.count:
            yield self._misread.finding(
                "encoding", Severity.WARNING, "captions look misread: wrong encoding, or HTML left in them",
                "save the file as UTF-8 from the program it comes from, and replace codes such as &amp; by their signs",
            )  # fmt: skip
        if self._twice.count:
            yield self._twice.finding(
                "duplicate_captions", Severity.NOTE, "pictures have the same caption more than once",
                "delete the copies: they count double in training and in scores",
            )  # fmt: skip
        if self._too_long.count:
            yield self._too_long.finding(
                "long_captions", Severity.NOTE, f"captions have more than {self._max_words} words and are cut there",
                f"shorten them, or build with --max-words {min(999, self.words_per_caption[2])}",
            )  # fmt: skip
        query = (
            "SELECT text, COUNT(DISTINCT picture) AS times FROM captions GROUP BY text HAVING times > ?"
            " ORDER BY times DESC LIMIT ?"
        )
        often = list(self._index.query(query, (max(2, int(_OFTEN * self.captions)), NAMES_SHOWN)))
        if often:
            yield Finding(
                "frequent_captions", Severity.NOTE, f"captions are used for many pictures, one for {often[0][1]:,}",
                len(often), tuple(text for text, _ in often),
                "look whether they say what is in the picture: what is said of everything is learned first",
            )  # fmt: skip


def _problems(collection: Collection, captions: int, max_bad_share: float) -> Iterator[Finding]:
    """What was left out while the data was read."""
    counts = collection.index.problem_counts()
    bad = sum(count for kind, count in counts.items() if kind in PICTURE_KINDS)
    stops = bad > max_bad_share * collection.listed
    lost = sum(count for kind, count in counts.items() if kind in LINE_KINDS)
    lines_stop = lost > max_bad_share * (captions + lost)
    for kind, count in counts.items():
        examples = list(collection.index.problems(kind, NAMES_SHOWN))
        is_error = (stops and kind in PICTURE_KINDS) or (lines_stop and kind in LINE_KINDS)
        severity = Severity.ERROR if is_error else Severity.WARNING
        text = f"{kind}: {examples[0].reason}"
        names = tuple(problem.name for problem in examples)
        file = names[0].rpartition(" line ")[0] or "FILE"
        yield Finding(kind.name.lower(), severity, text, count, names, _REMEDIES[kind].replace("FILE", file))
    if stops:
        yield Finding(
            "too_many_bad", Severity.ERROR,
            f"{bad:,} of {collection.listed:,} pictures cannot be used, more than {max_bad_share:.0%}", bad, (),
            f"mend the data, or build with --max-bad-share {min(1.0, bad / collection.listed + 0.01):.2f}",
        )  # fmt: skip
    if collection.unlisted:
        yield Finding(
            "unlisted", Severity.WARNING, "pictures with captions are in none of the splits", collection.unlisted, (),
            "add their names to a split if they are to be used",
        )  # fmt: skip


_REMEDIES = {
    ProblemKind.MISSING_PICTURE: "put the pictures where the data is, under these names, or delete their captions",
    ProblemKind.MISSING_CAPTIONS: "write captions for them, or take them out",
    ProblemKind.CORRUPT_PICTURE: "get them again from where they came from, or delete them",
    ProblemKind.IN_TWO_SPLITS: "name each picture in one split only",
    ProblemKind.CAPTION_WITHOUT_PICTURE: "put the pictures where the data is, or delete these lines",
    ProblemKind.EMPTY_CAPTION: "write the caption, or delete the line",
    ProblemKind.UNDECODABLE_BYTES: "rename what has such a name; save a file of captions as UTF-8, for example: "
    "iconv -f WINDOWS-1252 -t UTF-8 'FILE' > NEW",
    ProblemKind.DUPLICATE: "delete the second one",
    ProblemKind.MALFORMED_LINE: "mend these lines, or name the layout with --format and the columns with "
    "--image-column and --caption-column",
}


def _splits(splits: dict[str, int], language: str) -> Iterator[Finding]:
    for split in ("train", "dev"):
        if not splits.get(split):
            yield Finding(
                f"no_{split}", Severity.ERROR, f"pictures to use in the {split} split; there are {_listed(splits)}",
                0, (), f"name the {split} pictures in the data, or leave splits out of it: then they are made",
            )  # fmt: skip
    if 0 < splits.get("train", 0) < _FEW:
        yield Finding(
            "few_pictures", Severity.NOTE, "training pictures are few to learn a language from",
            splits["train"], (),
            "go on from the captioner that ships: build with --from pretrained" if language == "English"
            else "add more, or go on from a captioner of this language: build with --from BUNDLE",
        )  # fmt: skip


def _listed(splits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} in {split}" for split, count in splits.items()) or "none at all"


def _copies(collection: Collection, groups: Groups) -> Iterator[Finding]:
    """Pictures that are the same or nearly the same, across splits and within."""
    facts_of = "SELECT name, split FROM pictures WHERE id = ?"
    for pairs, code, what in (
        (groups.same, "same_picture", "the same picture, byte by byte, is there more than once"),
        (groups.near, "near_duplicates", "pictures are nearly the same: resized, recompressed, a little edited"),
    ):
        across, within = _Named(), _Named()
        for pair in pairs:
            facts = [next(collection.index.query(facts_of, (int(groups.numbers[place]),))) for place in pair]
            (_, one), (_, other) = facts
            (within if one == other else across).add(" = ".join(name for name, _ in facts))
        if across.count:
            yield across.finding(
                f"{code}_across_splits", Severity.WARNING, f"{what}, in two splits: scores would be too good",
                "keep them in one split" + (" (a build leaves them out of train)" if code == "same_picture" else ""),
            )  # fmt: skip
        if within.count:
            yield within.finding(code, Severity.NOTE, f"{what}, in one split", "keep one of them, with all captions")


class _Extent:
    """The least, the mean and the most of numbers that come one by one."""

    def __init__(self) -> None:
        self._least, self._sum, self._most, self._count = 0, 0, 0, 0

    def add(self, number: int) -> None:
        self._least = number if not self._count else min(self._least, number)
        self._most = max(self._most, number)
        self._sum += number
        self._count += 1

    def extent(self) -> tuple[int, float, int]:
        return self._least, round(self._sum / max(1, self._count), 1), self._most


class _Named:
    """How many there are, and the names of the first few."""

    def __init__(self) -> None:
        self.count = 0
        self._names: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self._names) < NAMES_SHOWN and name not in self._names:
            self._names.append(name)

    def finding(self, code: str, severity: Severity, text: str, remedy: str) -> Finding:
        return Finding(code, severity, text, self.count, tuple(self._names), remedy)
