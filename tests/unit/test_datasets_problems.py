import pytest

from captioner.datasets.problems import Problem, ProblemKind, ProblemLog
from captioner.errors import DataError


def missing(name):
    return Problem(name, ProblemKind.MISSING_PICTURE, "in train, but not among the pictures; left out")


def test_a_problem_is_gathered_once():
    log = ProblemLog([missing("a.jpg"), missing("b.jpg"), missing("a.jpg")])
    log.add(Problem("a.jpg", ProblemKind.MISSING_CAPTIONS, "has no caption"))
    assert [(problem.name, problem.kind) for problem in log.problems] == [
        ("a.jpg", ProblemKind.MISSING_PICTURE),
        ("b.jpg", ProblemKind.MISSING_PICTURE),
        ("a.jpg", ProblemKind.MISSING_CAPTIONS),
    ]
    assert log.counts() == {ProblemKind.MISSING_PICTURE: 2, ProblemKind.MISSING_CAPTIONS: 1}
    assert log.bad_pictures == {"a.jpg", "b.jpg"}


def test_summary_has_a_line_a_kind_and_the_first_five_names():
    log = ProblemLog(missing(f"{number}.jpg") for number in range(1007))
    log.add(Problem("tokens line 3", ProblemKind.MALFORMED_LINE, "left out"))
    assert log.summary().splitlines() == [
        "1,007 × listed picture without a file: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 1,002 more",
        "1 × malformed line: tokens line 3",
    ]
    assert ProblemLog().summary() == ""


def test_names_from_data_files_cannot_write_to_the_terminal():
    log = ProblemLog([missing("a\x1b[31m.jpg"), missing("two\nlines.jpg")])
    assert log.summary() == r"2 × listed picture without a file: a\x1b[31m.jpg, two\nlines.jpg"
    with pytest.raises(DataError) as caught:
        log.check(total=2, max_bad_share=0)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(("bad", "accepted"), [(0, True), (5, True), (6, False), (100, False)])
def test_check_allows_the_share_and_no_more(bad, accepted):
    log = ProblemLog(missing(f"{number}.jpg") for number in range(bad))
    if accepted:
        log.check(total=100, max_bad_share=0.05)
        return
    with pytest.raises(DataError) as caught:
        log.check(total=100, max_bad_share=0.05)
    message = caught.value.message
    assert message.startswith(f"{bad} of 100 pictures are bad, more than the 5% allowed")
    assert f"{bad} × listed picture without a file" in message
    assert "0.jpg" in message
    assert "--max-bad-share" in message
    assert "\n" not in message


def test_check_counts_pictures_not_problems_and_not_lines():
    log = ProblemLog(Problem(f"tokens line {n}", ProblemKind.MALFORMED_LINE, "left out") for n in range(50))
    log.add(missing("a.jpg"))
    log.add(Problem("a.jpg", ProblemKind.IN_TWO_SPLITS, "kept in dev only"))
    log.check(total=20, max_bad_share=0.05)
    with pytest.raises(DataError, match="1 of 19 pictures"):
        log.check(total=19, max_bad_share=0.05)


def test_check_of_nothing_bad_accepts_a_share_of_zero():
    ProblemLog().check(total=10, max_bad_share=0)
    with pytest.raises(DataError):
        ProblemLog([missing("a.jpg")]).check(total=10, max_bad_share=0)
