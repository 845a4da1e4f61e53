"""`melascope prepare`: from folders, archives and tables to a data set whose splits cannot leak."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

import melascope as ms
from melascope.cli.options import Seed, option
from melascope.cli.progress import progress_bar
from melascope.cli.table import table

_MAX_NAMED = 5


def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Folders or ZIPs of images, and CSVs: class folders, ISIC Archive exports, challenge files.",
        ),
    ],
    out: Annotated[Path, option("FOLDER", "Data set folder.")],
    keep_splits: Annotated[
        bool,
        typer.Option("--keep-splits", help="Keep the splits that the data came with; leaks are an error."),
    ] = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Accept splits that leak; figures from them mean nothing.")
    ] = False,
    fractions: Annotated[
        str, option("X,Y,Z", "Shares of the images for train, validation and test.")
    ] = "0.7,0.15,0.15",
    seed: Seed = 0,
    jobs: Annotated[
        int | None, option("N", "Processes that read images (default: one per core).", min=1)
    ] = None,
) -> None:
    """Make a data set of images: check, label, group and split them, and audit the result.

    Copies, and images of one lesion or one patient, form a group, and a group lies in one split. The audit looks for
    shortcuts that let a model cheat.

    Writes manifest.parquet, audit.json and audit.html. Images stay where they are. If interrupted, run the same command
    to resume.

    Exit code 1: an image could not be read; each is named.

    Examples:
        $ melascope prepare images/ --out data/
        $ melascope prepare archive.zip clinic/ labels.csv --out data/
    """
    try:
        shares = [float(share) for share in fractions.split(",")]
    except ValueError as error:
        raise ms.DataError(f"--fractions {fractions}: give three numbers, such as 0.7,0.15,0.15") from error
    with progress_bar() as progress:
        data = ms.prepare(
            sources,
            out,
            keep_splits=keep_splits,
            allow_leaks=allow_leaks,
            fractions=shares,
            seed=seed,
            jobs=jobs,
            progress=progress,
        )
    for ignored in data.audit["inputs"]["tables_passed_over"]:
        sys.stderr.write(f"passed over {ignored['path']}: {ignored['reason']}\n")
    if data.unchanged:
        sys.stderr.write(f"{out}: unchanged since the last run\n")
    for line in _lines(data):
        typer.echo(line)
    typer.echo(data.page)
    unreadable = data.table[data.table["excluded"].str.startswith("unreadable")]
    if len(unreadable):
        for path, why in unreadable[["path", "excluded"]].head(_MAX_NAMED).itertuples(index=False):
            sys.stderr.write(f"{path}: {why}\n")
        if len(unreadable) > _MAX_NAMED:
            sys.stderr.write(f"... and {len(unreadable) - _MAX_NAMED} more, all named in {data.page}\n")
        raise typer.Exit(1)


def _lines(data: "ms.Dataset") -> Iterator[str]:
    from melascope.manifest import SPLITS

    images, audit = data.table, data.audit
    reasons = images["excluded"].str.replace("^unreadable:.*", "unreadable", regex=True)
    used = images[reasons == ""]
    yield f"{len(images):>9,} images"
    for reason, count in reasons[reasons != ""].value_counts().items():
        yield f"{count:>9,} excluded: {reason}"
    yield f"{len(used):>9,} usable, in {used['group'].nunique():,} groups"
    copies = audit["duplicates"]
    yield f"{copies['exact'] + copies['near']:>9,} pairs of copies ({copies['exact']:,} exact, {copies['near']:,} near)"
    for read in audit["inputs"]["tables"]:
        for what in ("unreadable_rows", "rows_without_image"):
            if read[what]:
                yield f"{read[what]:>9,} {what.replace('_', ' ')} in {Path(read['path']).name}"
    yield ""
    rows: list[tuple[object, ...]] = [("split", "images", "malignant", "benign", "unknown", "melanoma")]
    for split in SPLITS:
        part = used[used["split"] == split]
        malignant, melanoma = part["malignant"], part["melanoma"]  # sums skip what is missing
        unknown = malignant.isna().sum()
        rows.append((split, len(part), malignant.sum(), (~malignant).sum(), unknown, melanoma.sum()))
    yield from table(rows)
    yield ""
    for verdict in audit["verdicts"]:
        yield f"{verdict['level'].upper():5}{verdict['title']}. {verdict['text']}"
    yield ""
