"""Stand-ins around a job: a captioner that says what is in a file, and pictures that are short texts."""

from collections.abc import Iterator

from captioner.errors import ImageError
from captioner.types import Caption, CaptionCandidate


def caption_of(text, confidence=0.9):
    """A caption as the captioner gives it."""
    return Caption(text, -1.5, (), (CaptionCandidate(text, -1.5), CaptionCandidate(f"{text} too", -2.5)), confidence)


class ReadingCaptioner:
    """Says of a file what is written in it; a file that begins with `bad` is corrupt. Counts what it was asked."""

    fingerprint = ("a stand-in",)
    confidence = staticmethod(lambda log_prob, tokens: 0.5)

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self._stop_after = stop_after

    def check_options(self, **options: object) -> None:
        """Take anything."""

    def iter_results(self, pictures, *, batch=16, workers=1, **options) -> Iterator[Caption | ImageError]:
        """See `Captioner.iter_results`."""
        for source in pictures:
            if self._stop_after is not None and len(self.asked) >= self._stop_after:
                raise KeyboardInterrupt
            self.asked.append(source.name)
            try:
                text = source.read_bytes().decode("latin-1")
            except ImageError as error:
                yield error
                continue
            if text.startswith("bad"):
                yield ImageError(f"{source.name}: corrupt", code="corrupt")
            else:
                yield caption_of(text, 0.1 if text.startswith("unsure") else 0.9)
