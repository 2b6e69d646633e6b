"""Where a key stands in a TOML text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.toml_lines import line_of, lines, syntax_error
from tests.toml_text import toml

TEXT = '''\
# a comment with [brackets] and key = "value"
top = 1
[a]
b.c = 2           # dotted
"quoted # key" = 3
d = { e = 4, f = { g = [1, 2] } }
[a.h]
i = """
[not.a.table]
no = "key" """
j = [
  10,             # first
  { k = 5 },
]
'' = 6
[[list]]
m = 1979-05-27 07:32:00
[[list]]
m = 'it''s'
[list.n]
o = -inf
'''.replace("'it''s'", "'its'")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 3),
        (("a", "b"), 4),
        (("a", "b", "c"), 4),
        (("a", "quoted # key"), 5),
        (("a", "d", "e"), 6),
        (("a", "d", "f", "g", 1), 6),
        (("a", "h"), 7),
        (("a", "h", "i"), 8),
        (("a", "h", "j", 0), 12),
        (("a", "h", "j", 1, "k"), 13),
        (("a", "h", ""), 15),
        (("list",), 16),
        (("list", 0, "m"), 17),
        (("list", 1), 18),
        (("list", 1, "m"), 19),
        (("list", 1, "n", "o"), 21),
    ],
)
def test_every_way_to_write_a_key_is_found(path, line):
    assert line_of(TEXT, path) == line


def test_every_key_that_tomllib_sees_has_a_line():
    found = lines(TEXT)

    def walk(value, path):
        if path:
            assert path in found, path
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, content in inner:
            walk(content, (*path, key))

    walk(tomllib.loads(TEXT), ())


def test_a_key_that_is_not_there_is_placed_at_the_table_around_it():
    assert line_of(TEXT, ("a", "h", "missing")) == 7
    assert line_of(TEXT, ("missing", "altogether")) is None


def test_windows_line_ends_count_once():
    assert line_of("a = 1\r\n\r\nb = 2\r\n", ("b",)) == 3


def test_a_string_may_end_in_more_quotes_than_three():
    assert line_of('a = """""two"""""\nb = \'\'\'\'one\'\'\'\'\nc = 1', ("c",)) == 3


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.text("aé \"'\\\\#=.,[]{}", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.# =]", max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None)  # the same cases every time, on any machine
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=5))
def test_the_line_of_each_key_is_the_line_it_was_written_on(document):
    text = toml(document)
    assert tomllib.loads(text) == document
    for number, key in enumerate(document, 1):
        assert line_of(text, (key,)) == number


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = \nc = 2", 2), ("a = [1,\n2,\n", 3), ("a = 1\na = 2", 2), ('a = "no end', 1)]
)
def test_a_syntax_error_has_a_line(text, line):
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    found, sentence = syntax_error(caught.value, text)
    assert found == line
    assert "(at" not in sentence
