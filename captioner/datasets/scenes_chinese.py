"""Scenes in Chinese, in simplified characters: measure words, no spaces, and the place before what is there.

    sentence    = listing | "有" listing | "图片上有" listing | listing "在白色的背景上" | "白色的背景上有" listing
                | counting | relation | comparison
    listing     = "一个红色的圆形" | "两颗小星星" | "三个图形" | "一个红色的圆形、一颗蓝色的星星和两个绿色的三角形"
    counting    = "红色的圆形有一个，蓝色的星星有两颗"
    relation    = B "左边的" A | A "在" B "的左边" | B "的左边有" A, likewise with 右边, 上面 and 下面
    comparison  = "一个红色的圆形比一颗蓝色的星星大 | 小"

"A picture of" is said as "in the picture there is". Counting names the thing before its number: a sentence with 共有,
"in all there are", would be false where it leaves something out.
"""

from __future__ import annotations

from collections.abc import Sequence

from captioner.datasets.scenes_language import Phrase, Place, enumerated

_NUMBERS = ("", "一", "两", "三", "四")
_NOUNS = {
    "circle": ("个", "圆形"),
    "square": ("个", "正方形"),
    "triangle": ("个", "三角形"),
    "star": ("颗", "星星"),
    "": ("个", "图形"),
}
"""Measure word and noun."""
_SIZES = {"small": "小", "large": "大", "": ""}
_COLOURS = {
    "red": "红色的",
    "yellow": "黄色的",
    "green": "绿色的",
    "blue": "蓝色的",
    "purple": "紫色的",
    "black": "黑色的",
    "": "",
}
_BACKGROUNDS = {"white": "白色", "grey": "灰色", "pink": "粉色", "brown": "棕色"}
_PLACES = {Place.LEFT: "左边", Place.RIGHT: "右边", Place.ABOVE: "上面", Place.BELOW: "下面"}


class Chinese:
    """See `SceneLanguage`."""

    code = "zh"
    has_spaces = False

    def listing(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return enumerated([_said(phrase) for phrase in phrases], "、", "和")

    def existence(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"有{self.listing(phrases)}"

    def depiction(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"图片上有{self.listing(phrases)}"

    def setting(self, phrases: Sequence[Phrase], background: str, *, exists: bool) -> str:
        """See `SceneLanguage`."""
        where = f"{_BACKGROUNDS[background]}的背景上"
        return f"{where}有{self.listing(phrases)}" if exists else f"{self.listing(phrases)}在{where}"

    def counting(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return "，".join(f"{_described(phrase)}有{_number(phrase)}" for phrase in phrases)

    def relations(self, first: Phrase, place: Place, second: Phrase) -> tuple[str, str, str]:
        """See `SceneLanguage`."""
        one, other, where = _said(first), _said(second), _PLACES[place]
        return f"{other}{where}的{one}", f"{one}在{other}的{where}", f"{other}的{where}有{one}"

    def comparison(self, first: Phrase, second: Phrase, *, bigger: bool) -> str:
        """See `SceneLanguage`."""
        return f"{_said(first)}比{_said(second)}{'大' if bigger else '小'}"


def _said(phrase: Phrase) -> str:
    return _number(phrase) + _described(phrase)


def _number(phrase: Phrase) -> str:
    measure, _ = _NOUNS[phrase.shape]
    return _NUMBERS[phrase.count] + measure


def _described(phrase: Phrase) -> str:
    _, noun = _NOUNS[phrase.shape]
    return f"{_COLOURS[phrase.colour]}{_SIZES[phrase.size]}{noun}"
