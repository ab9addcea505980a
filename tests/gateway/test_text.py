"""From tokens to text: stop strings, half characters, and that grouping changes nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.gateway.output import ChoiceOutput
from vajra.gateway.seeds import choice_seed
from vajra.gateway.stop_strings import StopStrings
from vajra.models import IncrementalDetokenizer
from vajra.models.detokenizer import PieceBytes

TEXT = st.text("ab", max_size=30)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def expected(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The definition, read literally: the first end of a match, and there the longest."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(TEXT, STOPS, st.lists(st.integers(0, 30), max_size=6))
def test_stop_strings_do_not_depend_on_how_the_text_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    matcher = StopStrings(stops)
    shown, found = "", None
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    for start, end in pairwise(edges):
        safe, found = matcher.push(text[start:end])
        shown += safe
        assert text.startswith(shown)
        if found is not None:
            break
    if found is None:
        shown += matcher.flush()
    assert (shown, found) == expected(text, stops)


@pytest.mark.parametrize(("pushed", "shown"), [("x", "x"), ("xa", "x"), ("xab", "x"), ("xaba", "xab")])
def test_only_what_may_begin_a_stop_string_is_held_back(pushed: str, shown: str) -> None:
    assert StopStrings(["abc", "ac"]).push(pushed) == (shown, None)


def output(stop: tuple[str, ...] = (), min_tokens: int = 0, max_tokens: int = 100) -> ChoiceOutput:
    pieces = PieceBytes(lambda i: chr(i), lambda piece: piece.encode("latin-1"))
    return ChoiceOutput(
        0,
        detokenizer=IncrementalDetokenizer(pieces),
        stop=stop,
        stop_ids=frozenset({0}),
        min_tokens=min_tokens,
        max_tokens=max_tokens,
    )


def run(out: ChoiceOutput, ids: list[int], cuts: list[int]) -> tuple[str, list[int]]:
    text, tokens = "", []
    edges = sorted({0, len(ids), *(c for c in cuts if c < len(ids))})
    for start, end in pairwise(edges):
        delta = out.push(ids[start:end], [])
        text += delta.text
        tokens += delta.token_ids
    return text + out.flush(), tokens


@given(st.binary(max_size=24), st.lists(st.integers(0, 24), max_size=5), st.sampled_from([(), ("a",), ("é", "ab")]))
def test_grouping_changes_neither_text_nor_tokens(data: bytes, cuts: list[int], stop: tuple[str, ...]) -> None:
    alone, together = output(stop), output(stop)
    one = run(alone, list(data), list(range(len(data))))
    assert run(together, list(data), cuts) == one
    assert alone.matched_stop == together.matched_stop
    if alone.matched_stop is None:
        assert one == (data.decode("utf-8", "replace"), list(data))


def test_half_characters_wait_for_the_rest() -> None:
    out = output()
    euro = "€".encode()
    assert [out.push([byte], []).text for byte in euro] == ["", "", "€"]
    assert out.push([euro[0]], []).text == ""
    assert out.flush() == "\ufffd"


def test_a_stop_token_counts_but_has_no_text_and_nothing_follows_it() -> None:
    out = output()
    delta = out.push([ord("a"), 0, ord("b")], [])
    assert (delta.text, delta.token_ids, out.matched_stop) == ("a", [ord("a"), 0], 0)


def test_a_stop_string_trims_the_tokens_behind_it() -> None:
    out = output(stop=("bc",))
    delta = out.push([ord(c) for c in "abcd"], [])
    assert (delta.text, len(delta.token_ids), out.matched_stop, out.flush()) == ("a", 3, "bc", "")


def test_no_stop_string_counts_before_min_tokens() -> None:
    out = output(stop=("a",), min_tokens=2)
    delta = out.push([ord("a"), ord("a"), ord("b"), ord("a")], [])
    assert (delta.text, len(delta.token_ids), out.matched_stop) == ("aab", 4, "a")


def test_the_first_choice_keeps_the_seed_and_the_others_differ() -> None:
    seeds = [choice_seed(42, i) for i in range(64)]
    assert seeds[0] == 42
    assert len(set(seeds)) == 64
    assert all(0 <= seed < 1 << 64 for seed in seeds)
