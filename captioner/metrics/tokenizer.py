"""Cuts captions into the words that caption metrics count, as coco-caption does; knows nothing of scores.

The yardstick of the published figures is the Penn Treebank tokenizer of Stanford CoreNLP 3.4.1, run with
`-preserveLines -lowerCase`, less a list of punctuation. This module was written against the behaviour of that program,
not from its source. It works as a lexer does: at every position all rules compete, the longest match wins, what has to
follow the token counted in, and the earlier rule wins a tie. Quirks are kept where they change the words; for example,
round brackets become `-lrb-` and `-rrb-` and count as words, because the list of punctuation has them in capitals.

Two differences are meant. The reference writes telephone numbers, mixed fractions and HTML tags as one token with
no-break spaces inside; its BLEU and CIDEr split there again, its ROUGE-L does not; here they are split for all three.
And it reads a whole set as one text, so that `no.` at the end looks at the caption that follows; here a caption stands
alone. Beyond that, only signs glued together as hardly anyone writes them (`&www.site.com`) are cut differently.
"""

from __future__ import annotations

import re

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""Tokens that coco-caption removes. Its list has brackets too, but in capitals, which no lower-case token equals."""

# Words that keep a full stop behind them: always, after a capital letter alone, before a number alone.
_ABBREVIATIONS = (
    r"adj|adm|adv|al|ala|alex|apr|ariz|assn|assoc|asst|atty|aug|ave|bhd|bldg|blvd|brig|bros|calif|capt|cf|cie|"
    r"cmdr|co|col|colo|conn|corp|cos|cpl|ct|dak|dec|dept|det|dr|drs|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|"
    r"gen|gov|govs|hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kan|kans|ky|lieut|lt|ltd|maj|mar|md|messrs|mfg|"
    r"mich|minn|mlle|mme|mo|mon|mont|mr|mrs|ms|msgr|mt|mtg|natl|neb|nev|nov|oct|okla|penn|pfc|ph\.d|ph|plc|ppte|"
    r"ppty|pres|prof|pte|ptes|pty|ptys|pvt|rd|rep|reps|rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|"
    r"supt|sys|tel|tenn|thu|thurs|treas|tue|tues|univ|va|vs|vt|wed|wis|wisc|wm|wyo"
)
_ABBREVIATIONS_IF_CAPITAL = "ark|az|del|ill|la|mass|miss|ore|pa|tex|wash"
_ABBREVIATIONS_BEFORE_NUMBER = "art|ca|figs?|nos?|op|pp|prop"

# What Python and the reference both take for letters: `\w` without its superscripts, fractions and circled digits, but
# with combining marks.
_NOT_LETTERS = r"\W_²³¹¼-¾\u2070-\u209f\u2150-\u218f\u2460-\u24ff\u2776-\u2793"
_MARKS = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065e\u0670\u06d6-\u06e4\u0900-\u0903\u093c-\u094e\u0951-\u0955"
    r"\u0981-\u0983\u09bc-\u09d7\u0a3c-\u0a4f\u0abc-\u0acf\u0bbe-\u0bd7\u0c3e-\u0c56\u0d3e-\u0d48\u0e31\u0e34-\u0e3a"
    r"\u0e47-\u0e4e"
)
_LETTER = rf"(?:[^{_NOT_LETTERS}\d]|[{_MARKS}])"
_ALNUM = rf"(?:[^{_NOT_LETTERS}]|[{_MARKS}])"
_WORD = rf"{_LETTER}{_ALNUM}*(?:[.!?\u2010\u2011]{_LETTER}{_ALNUM}*)*"  # stops inside are kept: a.b, whoa!now
_NUMBER = r"(?:\d+(?:[:.,]\d+)*|(?:[:.,]\d+)+)"
_PART = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_LABEL = r"[\w-]+"  # between the dots of an address
_PATH = r"[^\s\"<>|()]*[^\s\"<>|().,!?-]"
_ELIDED = rf"[DdLlOo]['’]{_ALNUM}{{2,}}"
_END = r"(?:[^A-Za-z]|$)"
_END_OF_WORD = r"(?:[^A-Za-z0-9]|$)"
# A capitalised word that begins sentences takes the full stop from a letter alone before it: `Plan A. The dog`.
_SENTENCE_STARTS = (
    "A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|Now|Once|"
    "One|Other|Our|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You|M[RrSs]\\."
)
_INITIALS = rf"(?![A-Za-z]\.\s+(?:{_SENTENCE_STARTS})(?:\s|$))[A-Za-z](?:\.[A-Za-z])*\."

# The token is the group; what stands outside it has to follow, and counts for the length of the match.
_RULES = tuple(
    re.compile(rule)
    for rule in (
        # contractions: the first half here, the second at the next position
        r"(['’][Tt])(?i:is|was)",
        rf"((?i:can))(?i:not){_END_OF_WORD}",
        rf"((?i:gon|wan))(?i:na){_END_OF_WORD}",
        rf"((?i:got))(?i:ta){_END_OF_WORD}",
        rf"((?i:lem|gim))(?i:me){_END_OF_WORD}",
        rf"((?:{_WORD}|\d{_ALNUM}*))['’](?i:[msd]|re|ve|ll){_END}",
        r"([A-Za-z]*?[A-Za-z])[Nn]['’`][Tt]",
        rf"(['’](?i:[msd]|re|ve|ll)){_END}",
        r"([Nn]['’`][Tt])",
        r"(’(?i:[msd]|re|ve|ll))",
        # words with an apostrophe
        rf"({_ELIDED}|[A-HJ-XZn]['’]{_LETTER}{{2}}{_ALNUM}*)",
        r"([A-Za-z]+[AEIOUYaeiouy]['’][aeiouA-Z][A-Za-z]*)",
        r"((?i:c'mon|e'er|ev'ry|li'l|nat'l|nor'easter|s'mores|o'er|ne'er))",
        r"((?i:ol|somethin|dunkin)['’]|[DdJjLlYy]['’])",
        r"(['’](?i:em|till?|cause|n['’]|n(?=\s|$))|['’]\d0[Ss]|['’]\d\d(?=\s|$))",
        r"(''|’’)\S*",
        # words, compounds, addresses
        rf"({_WORD}|\d{_ALNUM}*)",
        rf"({_ALNUM}+(?:[.,]{_ALNUM}*){{0,4}}(?:[-_](?:[A-Za-z](?:\.[A-Za-z])+\.|{_ELIDED}|{_ALNUM}+))+)",
        rf"({_PART}(?:/{_PART}){{1,2}})",
        r"([A-Z]+(?:[+&][A-Z]+)+|[Cc]\+\+|[CcFf]#|[A-Z]+\$)",
        rf"(https?://(?:{_LABEL}\.)+{_LABEL}(?:/{_PATH})?)",
        rf"(www\.(?:{_LABEL}\.)+[A-Za-z]{{2,4}}(?:/\w{_PATH})?)",
        rf"((?=[A-Za-z0-9])(?:{_LABEL}\.)+(?:com|net|org|edu)(?:/\w{_PATH})?)",
        r"([A-Za-z0-9][^\s\"<>|()]{0,63}@(?:[^\s\"<>|().]+\.)*[^\s\"<>|().]+)",
        r"(@[A-Za-z][A-Za-z_0-9]*|#[A-Za-z]+)",
        # full stops that belong to the word
        rf"({_INITIALS})",
        rf"({_WORD}\.|{_ALNUM}+\.)[,;:]",
        rf"((?i:{_ABBREVIATIONS})\.)",
        rf"((?=[A-Z])(?i:{_ABBREVIATIONS_IF_CAPITAL})\.)",
        rf"((?i:{_ABBREVIATIONS_BEFORE_NUMBER})\.)\s*\d",
        # numbers
        rf"([-+]?{_NUMBER})",
        r"((?:\d{1,4}-)?\d{1,4}/\d{1,4})",
        r"(\(\d{3}\)[ -]?\d{3}-\d{4})",
        # signs
        r"(</?[A-Za-z][\w-]*(?:\s+[\w-]+(?:=(?:\"[^\"]*\"|'[^']*'|[^\s<>\"']+))?)*\s*/?>)",
        r"([<>]?[:;=]['*o-]?[()\\|\[\]{@DPdpO](?![A-Za-z0-9])|[-^x=~<>]_[-^x=~<>])",
        r"(&#\d+;|&[A-Za-z](?:acute|cedil|circ|grave|tilde|uml);)",
        r"([?!]+|-+|\*+|#+|_+|<<|>>|\.{3,})",
    )
)

# Most words need no rule: letters alone between spaces, and not one of those that fall in two.
_PLAIN_WORD = re.compile(r"\s*(?!(?i:cannot|gonna|wanna|gotta|lemme|gimme)\b)([A-Za-z]+)(?:\s+|$)")
# Most captions need none at all: such words alone, and a full stop that stands apart, as Flickr8k writes them.
_PLAIN_CAPTION = re.compile(r"[A-Za-z\s]*(?:\s\.\s*)?")
_FALLS_IN_TWO = frozenset(["cannot", "gonna", "wanna", "gotta", "lemme", "gimme"])
# Signs that are kept as words of their own. Whatever is neither letter, digit nor one of these is dropped.
_SPACES = re.compile(r"\s*")
_SYMBOL = re.compile(
    r"[!#-/:-@\[-`{-~¡-©«¬®-´¶-¹»-¿×÷\u0589\u060c\u061b\u061f\u06d4\u0964\u0965\u2016\u2017\u201a\u201e\u2020-\u2022"
    r"\u2030-\u2044\u2070-\u208e\u20a4\u2100-\u214f\u2153-\u215e\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff65"
    r"\uffe0-\uffe6]"
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_ENTITIES = {"&amp;": "&", "&lt;": " < ", "&gt;": " > ", "&quot;": '"', "&apos;": "'", "&nbsp;": " ", "&mdash;": " -- "}
_ENTITY = re.compile("|".join(_ENTITIES))
_BEYOND_BASIC_PLANE = re.compile("[\U00010000-\U0010ffff]")
_PLAINER = str.maketrans(
    {"\u00ad": None, "…": " ... ", "£": " # ", "¢": " cents ", "\x92": "’"}
    | dict.fromkeys("“”«»\x93\x94", " '' ")
    | dict.fromkeys("‘‛‹›\x91", "`")
    | dict.fromkeys("–—―‒\x96\x97", " -- ")
    | dict.fromkeys("€¤₠\x80", " $ ")
    | {"½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 ", "⅓": " 1/3 ", "⅔": " 2/3 "}
)
_WITH_PLAIN_APOSTROPHE = frozenset(["’s", "’d", "’m", "’re", "’ve", "’ll", "’t", "n’t", "’’"])


def tokenize(text: str) -> list[str]:
    """The words of a caption in lower case, without punctuation; an empty list for an empty caption.

    Examples: `A man's well-known t-shirt.` gives `a man 's well-known t-shirt`, `don't` gives `do n't`,
    `(2 dogs)` gives `-lrb- 2 dogs -rrb-`.
    """
    if _PLAIN_CAPTION.fullmatch(text):
        words = text.lower().split()
        if _FALLS_IN_TWO.isdisjoint(words):
            return [word for word in words if word != "."]
    text = _plainer(text)
    tokens: list[str] = []
    position = 0
    while position < len(text):
        plain = _PLAIN_WORD.match(text, position)
        if plain:
            tokens.append(plain[1].lower())
            position = plain.end()
        else:
            token, position = _longest_match(text, position)
            if token not in PUNCTUATION:
                tokens.extend(token.lower().split())
            position = _SPACES.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
    return tokens


def _plainer(text: str) -> str:
    """Typographic signs and HTML entities as the plain ones that the rules know."""
    if "&" in text:
        text = _ENTITY.sub(lambda match: _ENTITIES[match[0]], text)
    if not text.isascii():
        text = _BEYOND_BASIC_PLANE.sub(" ", text.translate(_PLAINER))
    return text


def _longest_match(text: str, position: int) -> tuple[str, int]:
    """The token that wins at `position`, and where it ends. White space and unknown signs give an empty token."""
    best: re.Match[str] | None = None
    for rule in _RULES:
        match = rule.match(text, position)
        if match and (best is None or match.end() > best.end()):
            best = match
    if best is None:
        sign = text[position]
        return _BRACKETS.get(sign, sign if _SYMBOL.match(sign) else ""), position + 1
    return _spelling(best[1]), best.end(1)


def _spelling(token: str) -> str:
    """How the reference writes a token: plain apostrophe in endings, two dashes for up to four, named brackets."""
    if token.lower() in _WITH_PLAIN_APOSTROPHE:
        return token.replace("’", "'")
    if token[0] == "." and token.strip(".") == "":
        return "..."
    if token[0] == "-" and token.strip("-") == "" and len(token) <= 4:
        return "--"
    if token[0] in "(:;=<>":
        return token.replace("(", "-lrb-").replace(")", "-rrb-")
    return token
