"""Options are checked where they are made: type, range, and the name."""

import math
from dataclasses import fields

import pytest

from captioner.config.build import BuildConfig, DataConfig, DecoderConfig, EncoderConfig, TrainConfig
from captioner.config.checks import check_threads
from captioner.config.decode import DecodeConfig
from captioner.errors import ConfigError

KINDS = (DataConfig, EncoderConfig, DecoderConfig, TrainConfig, DecodeConfig)
FIELDS = [(kind, field) for kind in KINDS for field in fields(kind)]
WRONG = {
    int: (None, "1", 1.0, True, [1]),
    float: (None, "0.5", False, math.nan, math.inf, -math.inf, 10**400, [0.5]),
    str: (None, 1, True, b"auto", ["auto"]),
    bool: (None, 0, 1, "true"),
}


def refused(kind, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        kind(**options)
    return caught.value.message


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda value: getattr(value, "name", None))
def test_a_value_of_another_type_is_refused_by_option_value_and_what_is_expected(kind, field):
    expected = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
    for value in WRONG[type(field.default)]:
        assert refused(kind, **{field.name: value}) == (
            f"--{field.name.replace('_', '-')} is {value!r}; expected {expected[type(field.default)]}"
        )


def test_a_whole_number_may_stand_for_a_number():
    assert DecodeConfig(length_penalty=1).length_penalty == 1


def test_a_section_of_another_kind_is_refused():
    assert refused(BuildConfig, train=DataConfig()).endswith("expected a TrainConfig")


@pytest.mark.parametrize(
    ("kind", "option", "good", "bad"),
    [
        (TrainConfig, "threads", (0, 1, 256), (-1, 257, 100_000)),
        (TrainConfig, "accelerator", ("auto", "cpu", "gpu", "cuda", "mps", "tpu"), ("", "CPU", "cpus", "hpu")),
        (TrainConfig, "devices", (0, 1, 9999), (-1, 10_000, "2", 1.5, True)),
        (DataConfig, "max_words", (1, 999), (0, 1000)),
        (DecodeConfig, "max_length", (1, 1000), (0, 1001)),
        (DecodeConfig, "beam", (1, 100), (0, 101)),
    ],
)
def test_bounds(kind, option, good, bad):
    for value in good:
        assert getattr(kind(**{option: value}), option) == value
    for value in bad:
        assert refused(kind, **{option: value}).startswith(f"--{option.replace('_', '-')} is {value!r}; expected ")


def test_too_many_candidates_are_refused_by_their_own_name():
    assert refused(DecodeConfig, n_best=200, beam=200) == "--n-best is 200; expected 1 to 100"
    assert refused(DecodeConfig, n_best=4, beam=3) == "--n-best is 4; expected 1 to the beam size, 3"


def test_options_may_be_changed_by_name():
    assert DecodeConfig().changed({"beam": 7, "n_best": 2}) == DecodeConfig(beam=7, n_best=2)
    assert DecodeConfig(beam=9).changed({}) == DecodeConfig(beam=9)
    with pytest.raises(ConfigError, match="no option 'beem'") as caught:
        DecodeConfig().changed({"beem": 3})
    assert all(field.name in caught.value.message for field in fields(DecodeConfig))


@pytest.mark.parametrize("threads", [0, -1, 257, 100_000, True, 1.0, "2", None])
def test_more_threads_than_a_machine_bears_are_refused(threads):
    with pytest.raises(ConfigError) as caught:
        check_threads(threads)
    assert caught.value.message == f"--threads is {threads!r}; expected 1 to 256"


def test_as_many_threads_as_it_bears_are_fine():
    check_threads(1)
    check_threads(256)
