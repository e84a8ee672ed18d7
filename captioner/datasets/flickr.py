"""Flickr8k in its official layout (Hodosh, Young and Hockenmaier, JAIR 2013); opens no picture.

    flickr8k/
      Flickr8k.token.txt            name.jpg#k<TAB>caption, five lines a picture
      Flickr_8k.trainImages.txt     one name a line
      Flickr_8k.devImages.txt
      Flickr_8k.testImages.txt      may be absent
      Flicker8k_Dataset/            or Flickr8k_Dataset/, Images/, images/

The text files may be in `Flickr8k_text/`, and the folder of pictures may be one level further down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captioner.datasets.base import require_split
from captioner.datasets.problems import Problem, ProblemKind, ProblemLog
from captioner.errors import DataError
from captioner.images import FileSource
from captioner.types import Record

CAPTION_FILE = "Flickr8k.token.txt"
SPLIT_FILES = {
    "test": "Flickr_8k.testImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "train": "Flickr_8k.trainImages.txt",
}
"""In order of precedence: a picture in two splits stays in the first, so that nothing leaks into training."""
OPTIONAL_SPLITS = frozenset({"test"})
TEXT_FOLDERS = (".", "Flickr8k_text")
PICTURE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")

_CAPTION_LINE = re.compile(r"(?P<name>[^/\\\t#]+)#(?P<number>\d{1,6})\t(?P<caption>.*)")
_NAME_LINE = re.compile(r"[^/\\\t]+")


@dataclass(frozen=True)
class Flickr8kDataset:
    """The pictures and captions of a Flickr8k folder; `open` reads one."""

    folder: Path
    """Where it was read from."""
    splits: tuple[str, ...]
    """`train`, `dev` and, if its list is there, `test`."""
    by_split: dict[str, tuple[Record, ...]]
    """The records, in the order of the lists."""
    listed: int
    """How many different pictures the lists name."""
    problems: tuple[Problem, ...]
    """What was left out."""
    name: str = "Flickr8k"
    """How the data set is named to a person."""
    judge: None = None
    """Only people can tell whether a caption of a photograph is true."""

    looked_for = f"a folder with {CAPTION_FILE}, in it or in {TEXT_FOLDERS[1]}/"

    @staticmethod
    def recognises(data: str) -> bool:
        """Whether `data` is a folder with the caption file of Flickr8k."""
        return _find_text_folder(Path(data)) is not None

    @classmethod
    def open(cls, data: str) -> Flickr8kDataset:
        """Read the captions and the lists of a folder.

        Raises `DataError` when a file or the folder of pictures is missing; single bad lines and pictures become
        `problems`.
        """
        folder = Path(data)
        texts, pictures = _find_text_folder(folder), _find_picture_folder(folder)
        if texts is None:
            raise DataError(f"{folder} has no {CAPTION_FILE}; give the folder that holds it")
        if pictures is None:
            raise DataError(f"{folder} has no pictures; put them into {folder / PICTURE_FOLDERS[0]}")
        log = ProblemLog()
        lists = _read_lists(texts, log)
        kept = _keep_once(lists, log)
        captions = _read_captions(texts / CAPTION_FILE, log)
        files = {path.name for path in pictures.iterdir()}
        _report_captions_without_picture(captions, files, kept, log)
        by_split = {
            split: tuple(_records(split, names, captions, files, pictures, log)) for split, names in kept.items()
        }
        splits = tuple(split for split in ("train", "dev", "test") if split in by_split)
        listed = sum(len(names) for names in kept.values())
        return cls(folder, splits, by_split, listed, log.problems)

    @staticmethod
    def captions(data: str) -> dict[str, tuple[str, ...]]:
        """The captions of every picture of a folder by name, whether or not a list has it; no list is needed.

        Where there is a folder of pictures, only those that are in it count. Raises `DataError` when nothing is left.
        """
        folder = Path(data)
        texts, pictures = _find_text_folder(folder), _find_picture_folder(folder)
        if texts is None:
            raise DataError(f"{folder} has no {CAPTION_FILE}; give the folder that holds it")
        captions = {name: found for name, found in _read_captions(texts / CAPTION_FILE, ProblemLog()).items() if found}
        if pictures is not None:
            files = {path.name for path in pictures.iterdir()}
            captions = {name: found for name, found in captions.items() if name in files}
        if not captions:
            raise DataError(f"{folder} has no picture with a caption; give the folder that holds both")
        return captions

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, in the order of its list. Raises `DataError` when there is no such split."""
        require_split(self, split)
        return iter(self.by_split[split])


def _find_text_folder(folder: Path) -> Path | None:
    return next((folder / name for name in TEXT_FOLDERS if (folder / name / CAPTION_FILE).is_file()), None)


def _find_picture_folder(folder: Path) -> Path | None:
    """The folder that holds files, among those of the known names in the folder or one level down."""
    parents = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    candidates = [parent / name for parent in parents for name in PICTURE_FOLDERS]
    return next((path for path in candidates if path.is_dir() and any(file.is_file() for file in path.iterdir())), None)


def _read_lines(path: Path, log: ProblemLog) -> Iterator[tuple[str, str]]:
    """The place (file and line number) and the text of each line that is neither blank nor undecodable."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as Windows editors write it
    for number, line in enumerate(content.split(b"\n"), start=1):
        place = f"{path.name} line {number}"
        try:
            text = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError:
            log.add(Problem(place, ProblemKind.UNDECODABLE_BYTES, "not UTF-8; the line is left out"))
            continue
        if text.strip():
            yield place, text


def _read_lists(texts: Path, log: ProblemLog) -> dict[str, list[str]]:
    """The names in each split list. Raises `DataError` when a list that must be there is not."""
    lists: dict[str, list[str]] = {}
    for split, file_name in SPLIT_FILES.items():
        path = texts / file_name
        if not path.is_file():
            if split in OPTIONAL_SPLITS:
                continue
            raise DataError(f"{path} is missing; put it beside {CAPTION_FILE}")
        names: dict[str, None] = {}
        for place, text in _read_lines(path, log):
            name = text.strip()
            if not _NAME_LINE.fullmatch(name):
                log.add(Problem(place, ProblemKind.MALFORMED_LINE, "not the name of a picture; the line is left out"))
            elif name in names:
                log.add(Problem(name, ProblemKind.DUPLICATE, f"listed twice in {file_name}; taken once"))
            else:
                names[name] = None
        lists[split] = list(names)
    return lists


def _keep_once(lists: dict[str, list[str]], log: ProblemLog) -> dict[str, list[str]]:
    """The lists, in their order of precedence, without the pictures that an earlier list has."""
    first_split: dict[str, str] = {}
    kept: dict[str, list[str]] = {}
    for split, names in lists.items():
        for name in names:
            if first_split.setdefault(name, split) != split:
                reason = f"in {first_split[name]} and in {split}; kept in {first_split[name]} only"
                log.add(Problem(name, ProblemKind.IN_TWO_SPLITS, reason))
        kept[split] = [name for name in names if first_split[name] == split]
    return kept


def _read_captions(path: Path, log: ProblemLog) -> dict[str, tuple[str, ...]]:
    """The captions of each picture that the file names, in the order of their numbers."""
    numbered: dict[str, dict[int, str]] = {}
    for place, text in _read_lines(path, log):
        line = _CAPTION_LINE.fullmatch(text)
        if line is None:
            log.add(Problem(place, ProblemKind.MALFORMED_LINE, "not name#number<TAB>caption; the line is left out"))
            continue
        name, number, caption = line["name"], int(line["number"]), line["caption"].strip()
        captions = numbered.setdefault(name, {})
        if not any(map(str.isalnum, caption)):
            log.add(Problem(f"{name}#{number}", ProblemKind.EMPTY_CAPTION, "no words; left out"))
        elif number in captions:
            log.add(Problem(f"{name}#{number}", ProblemKind.DUPLICATE, "numbered twice; the first is kept"))
        else:
            captions[number] = caption
    return {name: tuple(caption for _, caption in sorted(captions.items())) for name, captions in numbered.items()}


def _report_captions_without_picture(
    captions: dict[str, tuple[str, ...]], files: set[str], kept: dict[str, list[str]], log: ProblemLog
) -> None:
    """Name the captioned pictures that have no file and are in no list; listed ones are reported as such."""
    listed = {name for names in kept.values() for name in names}
    for name in captions:
        if name not in files and name not in listed:
            log.add(Problem(name, ProblemKind.CAPTION_WITHOUT_PICTURE, "no file and in no split; captions left out"))


def _records(
    split: str,
    names: list[str],
    captions: dict[str, tuple[str, ...]],
    files: set[str],
    pictures: Path,
    log: ProblemLog,
) -> Iterator[Record]:
    for name in names:
        if name not in files:
            log.add(Problem(name, ProblemKind.MISSING_PICTURE, f"in {split}, but not among the pictures; left out"))
        elif not captions.get(name):
            log.add(Problem(name, ProblemKind.MISSING_CAPTIONS, f"in {split}, but has no caption; left out"))
        else:
            yield Record(name, FileSource(pictures / name), captions[name], split)
