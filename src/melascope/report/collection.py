"""`summary.html` and `summary.tsv` of a raw folder: how many images of each class, by year, source and licence."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from melascope import files
from melascope.errors import DataError
from melascope.labels import from_archive
from melascope.prepare.records import read_records
from melascope.report.figures import BLUE, GRID, INK, MUTED, ORANGE, style, svg
from melascope.report.html import render

PAGE, TABLE = "summary.html", "summary.tsv"  # prepare takes every .csv for a table of labels
CLASSES = ("melanoma", "other malignant", "malignant, unnamed", "benign", "not known")
UNKNOWN = CLASSES[-1]
_COLOURS = dict(zip(CLASSES, (ORANGE, "#dc9a6c", "#ecc9ae", BLUE, MUTED), strict=True))
_LEVELS = [f"diagnosis_{level}" for level in range(1, 6)]
_MAX_BARS = 12  # of a panel; the rest is summed up
_MAX_LETTERS = 44  # of a name in the figure


def write(folder: str | Path) -> pd.DataFrame:
    """Count what a raw folder holds and write both files there.

    Returns:
        One row for each class, year, source and licence: the columns `by`, `value`, one a class, and `images`.

    Raises:
        DataError: if it holds neither images with tables nor the archive's `metadata.csv`.
    """
    folder = Path(folder)
    counted = _count(_read(folder))
    present = [name for name in CLASSES if counted[name].any()]
    with files.replacing(folder / TABLE) as beside:
        counted.to_csv(beside, sep="\t", index=False)
    groups: dict[str, Any] = {
        by: counted[counted["by"] == by].to_dict("records") for by in counted["by"].unique().tolist()
    }
    page = render(
        "summary.html",
        groups=groups,
        classes=present,
        images=int(counted.loc[counted["by"] == "class", "images"].sum()),
        figure=svg(
            _draw({by: rows for by, rows in groups.items() if by != "class"}, present), "Images by class"
        ),
        table=TABLE,
    )
    files.write_text(folder / PAGE, page)
    return counted


def _read(folder: Path) -> pd.DataFrame:
    """Class, year, source and licence of each image."""
    try:
        table = read_records([folder]).table
    except DataError:
        if not (folder / "metadata.csv").exists():
            raise
        table = _read_metadata(folder / "metadata.csv")  # no image is here, or none has a label
    malignant, melanoma = (table[name].astype("boolean") for name in ("malignant", "melanoma"))
    class_ = pd.Series(UNKNOWN, table.index)
    class_[malignant.eq(False).fillna(False)] = "benign"
    class_[malignant.eq(True).fillna(False)] = "malignant, unnamed"
    class_[(malignant.eq(True) & melanoma.eq(False)).fillna(False)] = "other malignant"
    class_[melanoma.eq(True).fillna(False)] = "melanoma"
    return pd.DataFrame(
        {
            "class": class_,
            "year": table["year"].astype("string").fillna(UNKNOWN),
            "source": table["source"].astype("string").fillna(UNKNOWN),
            "licence": table["license"].astype("string").fillna(UNKNOWN),
        }
    )


def _read_metadata(path: Path) -> pd.DataFrame:
    cells = pd.read_csv(path, dtype="string").apply(lambda column: column.str.removeprefix("\t"))
    levels = cells.reindex(columns=_LEVELS).astype(object).where(lambda level: level.notna(), None)
    labels = [from_archive(row) for row in levels.itertuples(index=False)]
    return pd.DataFrame(
        {
            "malignant": [label.malignant for label in labels],
            "melanoma": [label.melanoma for label in labels],
            "year": pd.Series(pd.NA, cells.index, dtype="Int64"),
            "source": "ISIC Archive/" + cells["attribution"],
            "license": cells["copyright_license"],
        }
    )


def _count(images: pd.DataFrame) -> pd.DataFrame:
    tables = []
    for by in images.columns:
        if set(images[by]) == {UNKNOWN} and by != "class":
            continue  # such as the year of images of the archive, which it does not record
        table = pd.crosstab(images[by], images["class"]).reindex(columns=list(CLASSES), fill_value=0)
        table["images"] = table.sum(axis=1)
        if by == "class":
            table = table.reindex([name for name in CLASSES if name in table.index])
        elif by == "year":
            table = table.sort_index()
        else:
            table = table.sort_values("images", ascending=False, kind="stable")
        tables.append(table.rename_axis("value").reset_index().assign(by=by))
    counted = pd.concat(tables, ignore_index=True)
    return counted[["by", "value", *CLASSES, "images"]]


def _draw(groups: dict[str, list[dict[str, Any]]], classes: list[str]) -> Figure:
    """Bars of images, by class within each value."""
    shown = {by: _shortened(rows) for by, rows in groups.items()}
    lengths = [len(rows) for rows in shown.values()]
    with style():
        figure = Figure(figsize=(7.4, 0.9 + sum(0.27 * n + 0.55 for n in lengths)), layout="constrained")
        panels = figure.subplots(len(shown), 1, height_ratios=[n + 1 for n in lengths], squeeze=False)[:, 0]
        for axes, (by, rows) in zip(panels, shown.items(), strict=True):
            _bars(axes, by, rows)
        handles = [Patch(color=_COLOURS[name], label=name) for name in classes]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(classes))
    return figure


def _bars(axes: Axes, by: str, rows: list[dict[str, Any]]) -> None:
    places = range(len(rows))
    left = [0] * len(rows)
    for name in CLASSES:
        widths = [row[name] for row in rows]
        axes.barh(places, widths, left=left, color=_COLOURS[name], height=0.72)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row['images']:,}",
            (row["images"], place),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set_yticks(places, [_named(str(row["value"])) for row in rows])
    axes.set_xlim(0, 1.12 * max(left))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(f"Images by {by}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID)


def _shortened(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rest = rows[_MAX_BARS:]
    if not rest:
        return rows
    summed = {name: sum(row[name] for row in rest) for name in (*CLASSES, "images")}
    return [*rows[:_MAX_BARS], {"value": f"{len(rest)} others", **summed}]


def _named(value: str) -> str:
    value = value.removeprefix("ISIC Archive/")
    return value if len(value) <= _MAX_LETTERS else f"{value[: _MAX_LETTERS - 3]}..."
