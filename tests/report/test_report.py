"""The page: complete in itself, in the order a dermatologist reads, and honest where data are few."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from helpers.datasets import DATA_HASH, card, predictions
from helpers.models import MALIGNANT_ONLY
from melascope import files
from melascope.evaluate.caveats import Origin
from melascope.evaluate.evaluation import assess
from melascope.evaluate.stress import FORMAT
from melascope.report import figures, page
from melascope.report.html import data_uri, render

TEST = Origin("data", DATA_HASH, "test")
_VOID = {"meta", "br", "img", "wbr", "use", "path", "rect"}


class _Reader(HTMLParser):
    """Collects text and addresses, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def _read(path: Path) -> tuple[_Reader, str]:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader, " ".join(" ".join(reader.words).split())


def test_page_holds_everything_and_reads_in_order(tmp_path: Path) -> None:
    table = predictions()
    metrics = assess(table, card(), TEST, 200) | {"command": "melascope evaluate a b --out c"}
    reader, text = _read(page.write(metrics, tmp_path))
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    assert not re.search(
        r"url\((?!#)|@import|<script", (tmp_path / "report.html").read_text(encoding="utf-8")
    )
    assert reader.headings == [
        "Malignant? Melanoma?",
        "Images and patients",
        "At the clinical threshold",
        "Other operating points",
        "Malignant or benign: the whole range of thresholds",
        "Melanoma or not melanoma: the whole range of thresholds",
        "Does a probability mean what it says?",
        "Measures of doubt",
        "By source",
        "By patient and diagnosis",
        "Under stress",
        "Lesion or surroundings",
        "What no figure here covers",
        "Decisions about a patient",
        "All figures",
        "How to get this again",
    ]
    at = metrics["targets"]["malignant"]["at_threshold"]
    caught = [f"{100 * at['sensitivity'][key]:.0f}" for key in ("value", "low", "high")]
    assert f"about {caught[0]} (95 % interval {caught[1]} to {caught[2]}) would be caught" in text
    alarms = [f"{100 - 100 * at['specificity'][key]:.0f}" for key in ("value", "high", "low")]
    assert f"about {alarms[0]} (95 % interval {alarms[1]} to {alarms[2]}) would be called malignant" in text
    assert "never replaces one" in text
    assert "melascope evaluate a b --out c" in text
    assert "too few to say" in text
    for target in ("malignant", "melanoma"):
        for name in ("roc", "precision_recall", "calibration", "confusion"):
            with Image.open(tmp_path / "figures" / f"{target}_{name}.png") as picture:
                assert picture.width > 800


def test_chapters_of_the_same_model_are_on_the_page(tmp_path: Path) -> None:
    metrics = assess(predictions(), card(), TEST, 20)
    files.write_text(tmp_path / "metrics.json", json.dumps(metrics))
    predictions().to_parquet(tmp_path / "predictions.parquet")
    share = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 40}
    result = {
        "format": FORMAT,
        "command": "melascope check c stress",
        "model": metrics["model"]["identity"],
        "threshold": metrics["model"]["threshold"]["malignant"],
        "data": {"name": "data", "hash": metrics["data"]["hash"], "split": "test"},
        "images": {"n": 40, "n_positive": 20, "of": 400},
        "roc_auc": 0.9,
        "resampling": {},
        "changes": [
            {"change": "hair", "level": 5, "description": "5 hairs", "refused": 0.0}
            | dict.fromkeys(("roc_auc_change", "flipped", "lost", "alarms"), share)
        ],
    }
    other = {"model": "another@0123456789ab"}
    for changes in (other, {"threshold": 0.9}, {"data": {"hash": "0"}}, {"format": FORMAT - 1}):
        files.write_text(tmp_path / "stress.json", json.dumps({**result, **changes}))
        assert page.chapters(metrics, tmp_path) == {}, changes
    for changes, shown in (({}, True), (other, False)):
        files.write_text(tmp_path / "stress.json", json.dumps({**result, **changes}))
        written = page.renew(tmp_path)
        assert written is not None
        reader, text = _read(written)
        assert ("All changes of the image" in reader.headings) == shown
        assert ("5 hairs" in text) == shown
        assert ("melascope check REPORT stress" in text) != shown
    assert page.renew(tmp_path / "nothing") is None


def test_warnings_stand_before_any_figure(tmp_path: Path) -> None:
    origin = Origin("data", DATA_HASH, "test", allow_leaks=True)
    _, text = _read(page.write(assess(predictions(60, 50), card(), origin, 20), tmp_path))
    assert text.index("No figure here supports a claim") < text.index("What was asked")


@pytest.mark.parametrize("only", [True, False])
def test_one_class_has_no_numbers_for_the_other(tmp_path: Path, only: bool) -> None:
    table = predictions(80, 60)
    table[["malignant", "melanoma"]] = only
    page.write(assess(predictions(80, 60), card(), TEST, 20), tmp_path)
    _, text = _read(page.write(assess(table, card(), TEST, 20), tmp_path))
    sentence = (
        "How many benign lesions would be called malignant is not known: no image is benign"
        if only
        else "How many malignant lesions would be caught is not known: no image is malignant"
    )
    assert sentence in text
    assert not (tmp_path / "figures" / "malignant_roc.png").exists()  # none is left from the other run


def test_a_target_that_was_not_learned_is_named(tmp_path: Path) -> None:
    table = predictions(80, 60)
    table["p_melanoma"] = np.nan
    model = card(**MALIGNANT_ONLY)
    _, text = _read(page.write(assess(table, model, TEST, 20), tmp_path))
    assert "There is nothing to show: the model did not learn melanoma" in text


def test_names_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    table = predictions(60, 50)
    table["source"] = table["diagnosis"] = "<img src=x onerror=alert(1)>"
    reader, _ = _read(page.write(assess(table, card(name="<b>"), TEST, 20), tmp_path))
    assert "x" not in reader.addresses


def test_drawings_take_the_colours_and_the_font_of_the_page() -> None:
    with figures.style():
        figure, axes = figures.canvas()
        axes.plot([0, 1], [0, 1], color=figures.BLUE)
        axes.set_xlabel("probability")
    drawn = figures.svg(figure, 'the "label" & more')
    assert "var(--blue)" in drawn
    assert "var(--ink)" in drawn
    assert "DejaVu" not in drawn
    assert ">probability<" in drawn
    assert 'aria-label="the &#34;label&#34; &amp; more"' in drawn
    assert drawn == figures.svg(figure, 'the "label" & more')


def test_a_misspelt_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="targets"):
        render("report.html", m={})


def test_images_fit_into_a_page() -> None:
    assert data_uri(b"\x00\xff", "image/png") == "data:image/png;base64,AP8="
