"""The captioner of a finished bundle: picture → features → words → text, over ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from captioner.bundle import RUNS, VOCABULARY, Bundle, bundle_of, load_bundle, newest_bundle, pretrained_bundle
from captioner.chunks import map_chunks
from captioner.config.checks import MAX_BATCH, MAX_NEIGHBOURS, MAX_THREADS, check_count, check_device, check_threads
from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import WordRules
from captioner.decoding.decode import decode
from captioner.decoding.ensemble import EnsembleStepModel, join_features
from captioner.decoding.step import StepModel
from captioner.errors import BundleError, CaptionerError, ConfigError
from captioner.evaluation.confidence import Confidence
from captioner.images import Picture, load_image
from captioner.runtime.graphs import CaptionGraphs
from captioner.runtime.neighbours import Neighbour, Neighbours
from captioner.runtime.onnx_step import ATTENDED
from captioner.types import Candidate, Caption, CaptionCandidate, Word

MUST_SAY, MUST_NOT_SAY = "must_say", "must_not_say"
BATCH = 3
"""Pictures that are captioned together. With 16 a folder is quicker by a twentieth at most, and takes 50 MB more."""
Look: TypeAlias = list[np.ndarray]
"""A picture as the encoder of each bundle wants to see it: uint8 (size, size, 3)."""


class Captioner:
    """Describes pictures. Loading takes a fraction of a second; one captioner may be used from several threads."""

    def __init__(self, bundle: Bundle, *others: Bundle, threads: int = 1, device: str = "cpu") -> None:
        """Open the graphs of a verified bundle, or of several that write together; see `load`."""
        check_threads(threads)
        check_device(device)
        self.bundle = bundle
        """The bundle; of several the first, whose options for decoding are taken."""
        self.graphs = [CaptionGraphs(each, threads, device) for each in (bundle, *others)]
        """What computes: the graphs of each bundle."""
        self.steps: StepModel = self.graphs[0].steps
        """What proposes the next word, over the features of `see`."""
        self.confidence = Confidence.from_json(bundle.manifest.confidence) if bundle.manifest.confidence else None
        """How sure it is of a caption; None when that was not calibrated, as for several that write together."""
        if others:
            self.steps = EnsembleStepModel(
                [each.steps for each in self.graphs], [each.feature_shape for each in self.graphs]
            )
            self.confidence = None
        self._neighbours: Neighbours | None = None  # read when they are asked for
        for each in others:
            if each.vocabulary.fingerprint != bundle.vocabulary.fingerprint:
                raise BundleError(
                    f"{bundle.folder} and {each.folder} do not have the same words, and cannot write together; train "
                    "both on the same captions, with the same --min-count"
                )

    @property
    def fingerprint(self) -> list[str]:
        """What tells it from all others: that of each of its bundles."""
        return [graphs.bundle.fingerprint for graphs in self.graphs]

    def caption(self, picture: Picture, **options: Any) -> Caption:
        """Caption one picture.

        Args:
            picture: a path, the bytes of a file, a uint8 array (height, width, 3), or a Pillow image.
            options: fields of `DecodeConfig` that shall differ from the bundle's own, for example `beam=5, n_best=3`;
                `must_say` and `must_not_say`, sequences of words that have to be in the caption, or not.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: an option is unknown, of the wrong type or out of range, or the captioner does not know a word.
            BundleError: a graph fails at its work.
        """
        return self.caption_batch([picture], **options)[0]

    def caption_batch(self, pictures: Sequence[Picture], **options: Any) -> list[Caption]:
        """Caption several pictures together; arguments and errors as for `caption`, one bad picture raises."""
        chosen = self._chosen(options)
        looks = [self.look(picture) for picture in pictures]
        return self._caption_looks(looks, *chosen) if looks else []

    def iter_captions(
        self, pictures: Iterable[Picture], *, batch: int = BATCH, workers: int = 1, **options: Any
    ) -> Iterator[Caption]:
        """The lazy form of `caption_batch`: as `iter_results`, and the first picture that is bad raises."""
        for result in self.iter_results(pictures, batch=batch, workers=workers, **options):
            if isinstance(result, CaptionerError):
                raise result
            yield result

    def iter_results(
        self, pictures: Iterable[Picture], *, batch: int = BATCH, workers: int = 1, **options: Any
    ) -> Iterator[Caption | CaptionerError]:
        """Caption any number of pictures, in order; one that cannot be captioned gives its error in its place.

        Args:
            pictures: as for `caption`; taken a few ahead, so there may be more than fit into memory.
            batch: pictures that are read, seen and described together.
            workers: batches that are worked on side by side, each in a thread of its own. For many pictures, as many of
                them as there are cores are quicker than a captioner with as many `threads`.
            options: as for `caption`.

        Raises:
            ConfigError: as for `caption`, or `batch` or `workers` is out of range; before any is captioned.
        """
        check_count("workers", workers, MAX_THREADS)
        check_count("batch", batch, MAX_BATCH)
        chosen = self._chosen(options)

        def work(chunk: list[Picture]) -> list[Caption | CaptionerError]:
            return self._results(chunk, *chosen)

        return (result for chunk in map_chunks(work, pictures, size=batch, threads=workers) for result in chunk)

    def _results(
        self, pictures: Sequence[Picture], config: DecodeConfig, rules: WordRules
    ) -> list[Caption | CaptionerError]:
        """A caption or an error for each picture, whatever happens with the others."""
        found: dict[int, Look] = {}
        results: dict[int, Caption | CaptionerError] = {}
        for place, picture in enumerate(pictures):
            try:
                found[place] = self.look(picture)
            except CaptionerError as error:
                results[place] = error
        results.update(zip(found, self._results_of(list(found.values()), config, rules), strict=True))
        return [results[place] for place in range(len(pictures))]

    def _results_of(self, looks: list[Look], config: DecodeConfig, rules: WordRules) -> list[Caption | CaptionerError]:
        try:
            return [*self._caption_looks(looks, config, rules)] if looks else []
        except CaptionerError as error:
            if len(looks) == 1:
                return [error]
            # Whose fault it is shows when each is alone.
            return [self._results_of([look], config, rules)[0] for look in looks]

    def look(self, picture: Picture) -> Look:
        """A picture as the encoders want to see it; what is kept of it is small. Raises `ImageError`."""
        side = max(graphs.bundle.manifest.preprocess.decode_side for graphs in self.graphs)
        image = load_image(picture, at_least=side)
        return [graphs.fit(image) for graphs in self.graphs]

    def attention(self, picture: Picture, text: str | None = None) -> np.ndarray:
        """Where the captioner looks for each word of a caption (Xu et al. 2015, section 5.4).

        Args:
            picture: as for `caption`.
            text: the caption; None takes the one that the captioner gives.

        Returns:
            float32 (words, rows, columns), over the positions of the picture as the encoder sees it, a square; each
            word's add up to 1.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: the captioner does not look at regions, or several write together.
        """
        steps = self.graphs[0].steps
        if len(self.graphs) > 1 or ATTENDED not in steps.changing:
            raise ConfigError("only a single captioner with the decoder `attention` can tell where it looks")
        look = self.look(picture)
        vocabulary = self.bundle.vocabulary
        words = vocabulary.encode(self._caption_looks([look], *self._chosen({}))[0].text if text is None else text)
        state = steps.start(self.graphs[0].see(look))
        found = [state.changing[ATTENDED]]  # what was looked at so far, (1, regions)
        for token in [vocabulary.bos, *words][: len(words)]:  # a word is chosen after the one before it was read
            _, state = steps.step(np.array([token]), state)
            found.append(state.changing[ATTENDED])
        where = np.diff(np.concatenate(found), axis=0)
        side = isqrt(where.shape[1])
        if side * side != where.shape[1]:
            raise ConfigError(
                f"the {where.shape[1]} regions that it looks at are no square, and have no place in a picture"
            )
        return where.reshape(len(where), side, side)

    def neighbours(self, picture: Picture, count: int = 5) -> tuple[Neighbour, ...]:
        """The training pictures that look most like a picture to the encoder, with their captions, the nearest first.

        Args:
            picture: as for `caption`.
            count: how many, at most.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: `count` is out of range, or the bundle keeps no training pictures (`--neighbours` of a build).
            BundleError: what it keeps of them is not usable.
        """
        check_count("count", count, MAX_NEIGHBOURS)
        if self._neighbours is None:
            graphs = self.graphs[0]
            self._neighbours = Neighbours.load(graphs.bundle, graphs.feature_shape[-1])
        if self._neighbours is None:
            raise ConfigError("this captioner keeps no training pictures; build it with --neighbours N")
        return self._neighbours.nearest(self.graphs[0].see(self.look(picture)[:1]), count)

    def check_options(self, **options: Any) -> None:
        """Raise ConfigError when one of the options for `caption` is unknown, of the wrong type or out of range."""
        self._chosen(options)

    def _chosen(self, options: dict[str, Any]) -> tuple[DecodeConfig, WordRules]:
        others = dict(options)
        rules = WordRules(*(self._ids(name, others.pop(name, ())) for name in (MUST_SAY, MUST_NOT_SAY)))
        contradiction = set(rules.must) & set(rules.must_not)
        if contradiction:
            word = self.bundle.vocabulary.decode([min(contradiction)])
            raise ConfigError(f"{word!r} must be said and must not be said; choose one")
        config = self._decode_config(others)
        if rules.must and config.temperature > 0:
            raise ConfigError("words that must be said want a search; leave the temperature at 0")
        if rules.must and len(rules.must) >= config.max_length:
            raise ConfigError(f"{len(rules.must)} words that must be said do not fit into {config.max_length} tokens")
        return config, rules

    def _ids(self, option: str, words: Any) -> tuple[int, ...]:
        """Words as ids, each once. Raises ConfigError for what is not one word that the captioner knows."""
        if isinstance(words, str) or not isinstance(words, Iterable):
            raise ConfigError(f"{option} is {words!r}; expected a sequence of words")
        vocabulary, found = self.bundle.vocabulary, []
        for word in words:
            ids = vocabulary.encode(word) if isinstance(word, str) else []
            if len(ids) != 1:
                raise ConfigError(f"{word!r} in {option} is not one word; give words one by one")
            if ids[0] == vocabulary.unk:
                raise ConfigError(f"this captioner does not know the word {word!r}; its words are in {VOCABULARY}")
            found.append(ids[0])
        return tuple(dict.fromkeys(found))

    def _decode_config(self, options: dict[str, Any]) -> DecodeConfig:
        config = self.bundle.manifest.decode
        # Of beam, n_best and groups, those that were not asked for make room for the others.
        beam, n_best, groups = options.get("beam"), options.get("n_best"), options.get("groups", config.groups)
        if "beam" not in options and isinstance(n_best, int | None) and isinstance(groups, int) and groups > 0:
            wanted = max(config.beam, n_best or 1)
            options = {**options, "beam": -(-wanted // groups) * groups}
        elif "n_best" not in options and isinstance(beam, int):
            options = {**options, "n_best": max(1, min(config.n_best, beam))}
        return config.changed(options)

    def see(self, looks: Sequence[Look]) -> np.ndarray:
        """The features of pictures for `steps`: float32 (pictures, …), those of several encoders joined."""
        seen = [graphs.see(squares) for graphs, squares in zip(self.graphs, zip(*looks, strict=True), strict=True)]
        return seen[0] if len(seen) == 1 else join_features(seen)

    def _caption_looks(self, looks: Sequence[Look], config: DecodeConfig, rules: WordRules) -> list[Caption]:
        candidates = decode(self.steps, self.see(looks), config, self.bundle.vocabulary.special, rules)
        return [self._caption(found) for found in candidates]

    def _caption(self, found: Sequence[Candidate]) -> Caption:
        vocabulary = self.bundle.vocabulary
        candidates = tuple(CaptionCandidate(vocabulary.decode(each.tokens), each.log_prob) for each in found)
        best = found[0]
        words = tuple(
            Word(vocabulary.decode([token]), log_prob)
            for token, log_prob in zip(best.tokens, best.token_log_probs, strict=False)  # the end token has one too
        )
        confidence = self.confidence(best.log_prob, len(best.token_log_probs)) if self.confidence else None
        return Caption(candidates[0].text, candidates[0].log_prob, words, candidates, confidence)


def load(
    folder: str | Path | Sequence[str | Path] | None = None, *, threads: int = 1, device: str = "cpu"
) -> Captioner:
    """Load a finished captioner.

    Args:
        folder: the bundle's folder, or that of a build; None takes the newest one in `runs/`, or else the one that
            ships with the package.
            Several folders make an ensemble: captioners with the same words that write together, each word by the mean
            of their probabilities.
        threads: processor threads for one picture, 1 to 256.
        device: `cpu`, or `cuda` where there is a GPU and `onnxruntime-gpu` is installed in place of `onnxruntime`.

    Raises:
        BundleError: it is not a bundle, incomplete, changed since it was saved, of a newer format, or its graphs do not
            fit its manifest and vocabulary.
        ConfigError: too few threads, or too many; there is no such device; or there is no bundle at all.
    """
    if folder is None:
        folder = default_bundle()
    folders = [folder] if isinstance(folder, str | Path) else list(folder)
    if not folders:
        raise ConfigError("no bundle is named; give one folder, or several")
    return Captioner(*(load_bundle(bundle_of(Path(each))) for each in folders), threads=threads, device=device)


def default_bundle() -> Path:
    """The newest bundle in `runs/`, or else the one that ships with the package. Raises ConfigError without any."""
    folder = newest_bundle(RUNS) or pretrained_bundle()
    if folder is None:
        raise ConfigError(
            f"no captioner in {RUNS}/: train one with `python build_and_run.py`, or name one with --model DIR"
        )
    return folder
