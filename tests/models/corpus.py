"""Varied text for tokenizers: scripts, code, numbers, whitespace, emoji, what breaks naive splitting."""

from __future__ import annotations

import vajra.models

CORPUS = [
    "",
    " ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "don't we'll I'M they'RE it's 'tis O'Neill's",
    "In 2024, 3.14159 was 1,000,000 times 42 — or 0x1F and 1e-10?",
    "a  b   c    d     e\n\n\nf\t\tg \t h\r\nend  ",
    "   leading and trailing   ",
    "def f(x: int) -> int:\n    return x ** 2  # squared\n\n\nclass A:\n\tpass\n",
    '{"key": [1, 2, {"nested": null}], "s": "\\u00e9\\n"}',
    "<html><body onload=\"f('x')\">&amp;</body></html>",
    "https://example.com/a/b?c=d&e=%20f#g user@example.org",
    "Größe naïve café Ærøskøbing Łódź İstanbul ŒUVRE",
    "Привет, мир! Ёлка — это дерево.",
    "日本語のテキストと漢字。カタカナ、ひらがな。",
    "中文分词没有空格，所以很难。",
    "안녕하세요 세계",
    "مرحبا بالعالم، كيف حالك؟",
    "שלום עולם",
    "नमस्ते दुनिया, क्या हाल है?",
    "สวัสดีชาวโลก",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumb, 🇩🇪🇯🇵",
    "e\u0301 versus é, ﬁ versus fi, Å versus Å",
    "zero\u200bwidth\u200djoiner\ufeffbom\u00a0nbsp\u2003em",
    "control \x00\x01\x07\x1b[31m chars \x7f",
    "mathematics: ∀x∈ℝ ∃y: x² ≤ y ∧ √2 ≠ 1.5 → ∞",
    "!!!???...---___***###@@@$$$%%%^^^&&&",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "CamelCaseAndsnake_case_and-kebab-case.and.dots",
    "1234567890123456789012345678901234567890",
    "\u0000\U0010ffff\ue000 private and last",
    vajra.models.__doc__ or "",
]
# Numerals beyond ASCII's: where "split digits singly" shows.
NUMERALS = ["½ ² Ⅷ ٣٤ ৪২ 四 ①②", "x²y³ 10½ 1٣2", " ²", "a²b"]
