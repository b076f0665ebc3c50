"""Any text as LaTeX that needs no package and no encoding of fonts: plain ASCII, whatever a label holds."""

from __future__ import annotations

import unicodedata

SIGNS = {"±": "pm", "†": "dagger", "≥": "ge", "≤": "le", "×": "times", "≈": "approx", "≠": "neq", "·": "cdot"}
SIGNS |= {"↑": "uparrow", "↓": "downarrow", "→": "to", "∞": "infty", "∈": "in", "∪": "cup", "∩": "cap"}
TEXT = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar"}
LETTERS = {
    "ß": "ss",
    "ø": "o",
    "Ø": "O",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ł": "l",
    "Ł": "L",
    "ı": "i",
}
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"  # combining, from grave to cedilla
ACCENTS = dict(zip(MARKS, "`'^~=u.\"rHvc", strict=True))


def _macro(letter: str) -> str:
    """Return the LaTeX macro of a Greek letter that has one of its own, lambda for λ and Lambda for Λ."""
    name = unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")
    return name.capitalize() if letter.isupper() else name


MACROS = (
    {char: f"\\{char}" for char in "{}$&#_%"}
    | {char: f"{{{char}}}" for char in "[*"}  # else arguments of the line break before them
    | {char: f"\\text{name}{{}}" for char, name in TEXT.items()}
    | {char: f"$\\{name}$" for char, name in SIGNS.items()}
    | {char: f"\\{name}{{}}" for char, name in LETTERS.items()}
    | {letter: f"$\\{_macro(letter)}$" for letter in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"}
    | {digit: f"$^{i}$" for i, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    | {digit: f"$_{i}$" for i, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")}
    | {
        "−": "$-$",
        "°": r"$^\circ$",
        "–": "--",
        "—": "---",
        "…": r"\dots{}",
        "\n": " ",
        "\t": " ",
        "\u00a0": "~",
    }
    | {"‘": "`", "’": "'", "“": "``", "”": "''"}
)


def escaped(text: str) -> str:
    """Return the text as LaTeX; a letter that plain LaTeX has no macro for is told by its code point."""
    return "".join(map(_escaped, text))


def breadth(text: str) -> float:
    """Return how wide the text is set, in characters: signs and capitals take more than one, code points six."""
    return sum(
        6 if _escaped(c).startswith("U+") else 1 if c.isascii() and not c.isupper() else 1.5 for c in text
    )


def _escaped(char: str) -> str:
    if char in MACROS:
        return MACROS[char]
    if char.isascii():
        return char if char.isprintable() else ""
    base, *marks = unicodedata.normalize("NFD", char)
    if marks and base.isascii() and all(mark in ACCENTS for mark in marks):
        for mark in marks:
            base = f"\\{ACCENTS[mark]}{{{base}}}"
        return base
    return f"U+{ord(char):04X}"
