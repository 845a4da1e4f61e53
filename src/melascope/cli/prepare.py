"""`melascope prepare`: from folders, archives and tables to a data set whose splits cannot leak."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melascope.cli.progress import progress_bar
from melascope.errors import DataError

if TYPE_CHECKING:
    from melascope.prepare.pipeline import Summary

_NAMED = 5


def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders or ZIPs of images, and CSVs: class folders, ISIC Archive exports, challenge files.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Data set folder; a killed run goes on with the same command.")],
    keep_splits: Annotated[
        bool, typer.Option("--keep-splits", help="Take the splits the data came with; leaks are an error.")
    ] = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Keep splits that leak; figures from them mean nothing.")
    ] = False,
    fractions: Annotated[
        str, typer.Option(help="Share of the images for train, validation and test.")
    ] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Same seed, same splits.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that read images (default: one a core).")
    ] = None,
) -> None:
    """Make a data set: every image checked, labelled, grouped with its copies, split by group, and audited.

    Writes manifest.parquet, audit.json and audit.html. Images stay where they are.
    """
    from melascope.prepare import pipeline
    from melascope.prepare.splits import Options
    from melascope.report import audit

    try:
        shares = [float(share) for share in fractions.split(",")]
    except ValueError as error:
        raise DataError(f"--fractions {fractions}: give three numbers, such as 0.7,0.15,0.15") from error
    with progress_bar() as progress:
        summary = pipeline.prepare(
            sources,
            out,
            Options(keep_splits, allow_leaks, shares, seed),
            jobs=jobs,
            publish=audit.write,
            progress=progress,
        )
    for table in summary.audit["inputs"]["tables_passed_over"]:
        sys.stderr.write(f"passed over {table['path']}: {table['reason']}\n")
    if summary.unchanged:
        sys.stderr.write(f"{out}: unchanged since the last run\n")
    for line in _lines(summary):
        typer.echo(line)
    typer.echo(out / "audit.html")
    unreadable = summary.table[summary.table["excluded"].str.startswith("unreadable")]
    if len(unreadable):
        for path, why in unreadable[["path", "excluded"]].head(_NAMED).itertuples(index=False):
            sys.stderr.write(f"{path}: {why}\n")
        if len(unreadable) > _NAMED:
            sys.stderr.write(f"... and {len(unreadable) - _NAMED} more, all named in {out / 'audit.html'}\n")
        raise typer.Exit(1)


def _lines(summary: "Summary") -> Iterator[str]:
    from melascope.manifest import SPLITS

    table, audit = summary.table, summary.audit
    reasons = table["excluded"].str.replace("^unreadable:.*", "unreadable", regex=True)
    used = table[reasons == ""]
    yield f"{len(table):>9,} images"
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
    yield f"{'split':12}{'images':>9}{'malignant':>11}{'benign':>9}{'unknown':>9}{'melanoma':>10}"
    for split in SPLITS:
        dealt = used[used["split"] == split]
        malignant, melanoma = dealt["malignant"], dealt["melanoma"]  # sums pass over what is missing
        counts = (len(dealt), malignant.sum(), (~malignant).sum(), malignant.isna().sum(), melanoma.sum())
        cells = zip(counts, (9, 11, 9, 9, 10), strict=True)
        yield f"{split:12}" + "".join(f"{count:>{width},}" for count, width in cells)
    yield ""
    for verdict in audit["verdicts"]:
        yield f"{verdict['level'].upper():5}{verdict['title']}. {verdict['text']}"
    yield ""
