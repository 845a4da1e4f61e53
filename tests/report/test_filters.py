"""Filters of the templates: figures, shares and counts as a page shows them."""

import pytest

from melascope.labels import NOT_RECORDED
from melascope.report import filters

FIGURE = {"value": 0.9231, "low": 0.9108, "high": 0.9344, "n": 1982}
ALONE = {"value": 1.0, "low": None, "high": None, "reason": "too few groups"}
NONE = {"value": None, "low": None, "high": None, "reason": "no image is <malignant>"}


@pytest.mark.parametrize(
    ("document", "spec", "text"),
    [
        (FIGURE, ".3f", "0.923 <small>0.911 to 0.934</small>"),
        (FIGURE, ".1%", "92.3\u00a0% <small>91.1 to 93.4</small>"),
        (FIGURE, "+.1f", "+0.9 <small>+0.9 to +0.9</small>"),
        (ALONE, ".3f", "1.000 <small>no interval</small>"),
        (NONE, ".3f", '<span class="muted">not defined</span> <small>no image is &lt;malignant&gt;</small>'),
        (None, ".3f", '<span class="muted">not defined</span>'),
    ],
)
def test_cell(document, spec, text):
    assert filters.cell(document, spec) == text


def test_figure():
    assert filters.figure(FIGURE) == "0.923 (0.911 to 0.934)"
    assert filters.figure(FIGURE, ".0%") == "92\u00a0% (91 to 93)"
    assert filters.figure(NONE) == "not defined"


def test_texts():
    assert filters.texts(FIGURE) == ("0.923", "0.911 to 0.934")
    assert filters.texts(ALONE, ".1%") == ("100.0\u00a0%", "no interval: too few groups")


def test_hundred():
    assert filters.hundred(FIGURE) == "about 92 (95\u00a0% interval 91 to 93)"
    assert filters.hundred(ALONE) == "about 100 (no interval: too few groups)"


def test_complement():
    """False alarms are the complement of specificity; the ends of the interval change places."""
    alarms = filters.complement(FIGURE)
    assert [alarms[name] for name in ("value", "low", "high")] == pytest.approx([0.0769, 0.0656, 0.0892])
    assert filters.complement(ALONE) == {**ALONE, "value": 0.0}
    assert filters.complement(NONE)["value"] is None


def test_points():
    change = {"value": 0.0123, "low": -0.002, "high": 0.03}
    assert filters.points(change) == "+1.2 percentage points (95\u00a0% interval -0.2 to +3.0)"


def test_tally():
    """The most frequent values are named, the rest is summed up, and no record at all is one word."""
    assert filters.tally({"nevus": 750, "melanoma": 250}) == "nevus 750 (75\u00a0%), melanoma 250 (25\u00a0%)"
    assert filters.tally({NOT_RECORDED: 9}) == NOT_RECORDED
    many = filters.tally({str(i): 100 for i in range(20)})
    assert many.count(",") == 12
    assert many.endswith("8 others 800 (40\u00a0%)")


def test_split_of():
    assert filters.split_of({"split": "test", "name": "data"}) == "the test split of <code>data</code>"
    assert filters.split_of({"split": "all", "name": "<b>"}) == "all splits of <code>&lt;b&gt;</code>"
