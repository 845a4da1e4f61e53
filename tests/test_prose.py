"""The measure of prose: what it counts, and what it refuses."""

import sys

import prose
import pytest

PAGE = """\
# A heading is not prose. It may hold two.

One sentence with `code. That holds a stop` and a [link](https://example.org/a.html).
Another of 0.5, 1,890, 95 % and Li et al. in 2019.

- **A bold heading.** The text of an item
  goes on here. And ends here.
- an item without a stop

```console
$ two words. On one line. Are code.
```

| a table | is none. Not at all. |
|---|---|
| a | b |

<p>Neither is HTML. Nor this.</p>
"""


def test_sentences_and_faults_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    page = prose.read(path)
    assert page.sentences == [
        "One sentence with Code and a link.",
        "Another of 0.5, 1,890, 95 % and Li et al. in 2019.",
        "The text of an item goes on here.",
        "And ends here.",
    ]
    assert [prose.words(sentence) for sentence in page.sentences] == [7, 11, 8, 3]
    assert page.mean == 29 / 4
    assert page.commas == 2 / 4
    assert [fault.partition(".md:")[2] for fault in page.faults] == [
        "6: a sentence is broken over two lines",
        "7: two sentences on one line",
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("See Fig. 3, e.g. Smith vs. Jones. Then stop.", "See Fig. 3, e.g. Smith vs. Jones."),
        ("J. K. Rao wrote it (in 2019.) It holds.", "J. K. Rao wrote it (in 2019.)"),
        ("Is it? 12 of 20 are.", "Is it?"),
        ("It uses `melascope.images.load` here… Then", "It uses `melascope.images.load` here…"),
        ("No end at all", "No end at all"),
        ("version 2.0. then lower case", "version 2.0. then lower case"),
    ],
)
def test_where_a_sentence_ends(text, first):
    assert next(prose.sentences(text)) == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Short and plain.", None),
        ("One. Two.", "two sentences"),
        ("word " * 18 + ".", "18.0 words per sentence"),
        ("Short.\n" * 10 + "Word " * 36 + ".", "9% of sentences"),
    ],
)
def test_a_page_that_is_hard_to_read_is_refused(text, said, tmp_path, monkeypatch, capsys):
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["prose.py", str(path)])
    if said is None:
        prose.main()
    else:
        with pytest.raises(SystemExit, match="1"):
            prose.main()
    assert (said or "") in capsys.readouterr().err
