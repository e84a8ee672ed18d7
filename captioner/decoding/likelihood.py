"""How probable a model finds captions that it is given (teacher forcing); knows token ids and log-probabilities alone.

The log-probability of a caption w_1 … w_T of picture x is Σ log p(w_t | x, w_1 … w_{t-1}) over its words and the end
token. It is what `decode` reports of a finished candidate, without a search and without constraints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.decoding.step import State, StepModel, checked_log_probs
from captioner.errors import CaptionerError
from captioner.types import SpecialTokens


def caption_log_probs(
    step_model: StepModel,
    features: np.ndarray,
    captions: Sequence[Sequence[int]],
    rows: Sequence[int] | np.ndarray,
    special: SpecialTokens,
    *,
    batch: int = 256,
) -> np.ndarray:
    """The natural-log probability of each caption, the end token counted: float64 (captions,), in the order given.

    `features`: (pictures, channels) or (pictures, regions, channels), handed to the model as it is. `captions`: token
    ids without begin, end and padding; an empty one is scored as ending at once, and `unk` as the token that it is.
    `rows`: int (captions,), the row of `features` that each caption is scored against. `batch`: the most captions, and
    the most pictures, that the model sees at once; it changes memory and time, and the result as far as the model's
    arithmetic depends on its batch.

    The state of each picture is started once, whatever the number of its captions. Captions of like length go together
    and leave the batch where they end, so no padding is computed.

    Raises `CaptionerError` with code `decoding` when the arguments do not fit together, or when the model returns
    something other than log-probabilities of the right shape.
    """
    if batch < 1:
        raise _misfit(f"a batch of {batch} captions cannot be scored; give 1 or more")
    tokens, lengths = _with_end(captions, special)
    pictures, place = np.unique(_checked_rows(rows, len(captions), features), return_inverse=True)
    totals = np.zeros(len(captions), dtype=np.float64)
    for first in range(0, len(pictures), batch):
        started = step_model.start(features[pictures[first : first + batch]])
        members = np.flatnonzero((place >= first) & (place < first + batch))
        members = members[np.argsort(-lengths[members], kind="stable")]
        for begin in range(0, len(members), batch):
            chosen = members[begin : begin + batch]
            state = step_model.reorder(started, place[chosen] - first)
            totals[chosen] = _scored(step_model, state, tokens[chosen], lengths[chosen], special)
    return totals


def _scored(
    step_model: StepModel, state: State, tokens: np.ndarray, lengths: np.ndarray, special: SpecialTokens
) -> np.ndarray:
    """The summed log-probabilities of captions that are sorted by length, the longest first: float64 (rows,).

    `tokens`: int64 (rows, time), the end token after each caption. `lengths`: int64 (rows,), the end token counted.
    """
    totals = np.zeros(len(tokens), dtype=np.float64)
    live = len(tokens)
    said = np.full(live, special.bos, dtype=np.int64)  # (rows,)
    for time in range(int(lengths[0])):
        going_on = int(np.count_nonzero(lengths > time))
        if going_on < live:
            live = going_on
            state = step_model.reorder(state, np.arange(live, dtype=np.int64))
        answer, state = step_model.step(said[:live], state)
        log_probs = checked_log_probs(answer, live, special)  # (rows, vocab)
        said = tokens[:live, time]
        if said.max() >= log_probs.shape[1]:
            raise _misfit(
                f"a caption has token {said.max()}, but the model knows {log_probs.shape[1]} tokens; encode captions "
                "with the vocabulary of the model"
            )
        totals[:live] += log_probs[np.arange(live), said]
    return totals


def _with_end(captions: Sequence[Sequence[int]], special: SpecialTokens) -> tuple[np.ndarray, np.ndarray]:
    """Captions as int64 (captions, time), each filled up with end tokens, and their lengths with one of these."""
    lengths = np.array([len(caption) + 1 for caption in captions], dtype=np.int64)
    tokens = np.full((len(captions), lengths.max(initial=1)), special.eos, dtype=np.int64)
    for index, caption in enumerate(captions):
        ids = np.asarray(caption)
        if ids.size == 0:
            continue
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise _misfit(f"caption {index} is no sequence of token ids; encode captions with the vocabulary first")
        tokens[index, : len(ids)] = ids
    inside = np.arange(tokens.shape[1]) < lengths[:, None] - 1  # (captions, time)
    no_words = (np.isin(tokens, (special.pad, special.bos, special.eos)) & inside | (tokens < 0)).any(axis=1)
    if no_words.any():
        raise _misfit(
            f"caption {no_words.argmax()} has a begin, end, padding or negative token; give the ids of its words alone"
        )
    return tokens, lengths


def _checked_rows(rows: Sequence[int] | np.ndarray, captions: int, features: np.ndarray) -> np.ndarray:
    """`rows` as int64 (captions,), or `CaptionerError` when they do not lead from captions to features."""
    if features.ndim < 2:
        raise _misfit(
            f"features have shape {features.shape}; expected (pictures, channels) or (pictures, regions, channels)"
        )
    checked = np.asarray(rows)
    if checked.shape != (captions,):
        raise _misfit(f"rows have shape {checked.shape}; expected ({captions},), one row of the features a caption")
    if captions == 0:
        return np.empty(0, dtype=np.int64)
    if checked.dtype.kind not in "iu":
        raise _misfit(f"rows are of type {checked.dtype}; give the row of the features of each caption as an integer")
    if checked.min() < 0 or checked.max() >= len(features):
        raise _misfit(
            f"rows go from {checked.min()} to {checked.max()}; give numbers from 0 up to below {len(features)}, which "
            "is how many rows the features have"
        )
    return checked.astype(np.int64)


def _misfit(message: str) -> CaptionerError:
    return CaptionerError(message, code="decoding")
