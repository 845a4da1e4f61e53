"""`melascope fetch`: images with their licences, from the ISIC Archive, its challenges, and ZIPs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import melascope as ms
from melascope.cli.help import add
from melascope.cli.options import option
from melascope.cli.progress import progress_bar
from melascope.cli.table import table

if TYPE_CHECKING:
    import pandas as pd

    from melascope.fetch.isic import Plan
    from melascope.progress import Progress

_MAX_NAMED = 20

Out = Annotated[Path, option("FOLDER", "Raw folder; files in it are kept, checked and completed.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show number and size of the files; download nothing.")
]
Licenses = Annotated[
    str,
    typer.Option(
        "--license",
        metavar="NAMES",
        help="Only images under these licences: CC-0, CC-BY, CC-BY-NC, separated by commas.",
    ),
]


def isic(
    out: Out,
    query: Annotated[
        str,
        option(
            "QUERY",
            "In the archive's query language, such as 'diagnosis_1:Malignant AND age_approx:[50 TO 70]'.",
        ),
    ] = "",
    collections: Annotated[
        str, option("NUMBERS", "Only images of these collections, separated by commas.")
    ] = "",
    license: Licenses = "",
    limit: Annotated[int | None, option("N", "At most this many images.", min=1)] = None,
    metadata_only: Annotated[
        bool,
        typer.Option("--metadata-only", help="Download tables, attributions and licences, but no images."),
    ] = False,
    dry_run: DryRun = False,
    jobs: Annotated[int, option("N", "Downloads at once.", min=1, max=128)] = 32,
) -> None:
    """Download images of the ISIC Archive, with their tables, credits and licences.

    Only dermoscopic images are downloaded, unless the query names an image_type. `melascope prepare` reads the folder
    as it is. A folder of the official `isic` command is checked and completed.

    Writes metadata.csv, attribution.txt and licenses/. ledger.jsonl records each file's address, size, hash and state.

    Examples:
        $ melascope fetch isic --query 'diagnosis_1:Malignant' --dry-run --out raw/
        $ melascope fetch isic --license CC-0,CC-BY --limit 500 --out raw/
    """
    numbers, licenses = _numbers(collections), _several(license)
    if dry_run:
        from melascope.fetch.isic import plan, select
        from melascope.fetch.isic_api import Archive

        selection = select(query, numbers, limit, licenses, _notify)
        typer.echo(_plan_line(plan(Archive.open(jobs, _notify), selection), out))
        return
    with _stoppable() as progress:
        fetched = ms.fetch_isic(
            query,
            out,
            collections=numbers,
            licenses=licenses,
            limit=limit,
            images=not metadata_only,
            jobs=jobs,
            progress=progress,
            notify=_notify,
        )
    _finish(fetched)


def challenge(
    year: Annotated[
        str, typer.Argument(metavar="YEAR", help="2016, 2017, 2018, 2019, 2020, 2024 or milk10k.")
    ],
    out: Out,
    license: Licenses = "",
    dry_run: DryRun = False,
) -> None:
    """Download the images and tables of an ISIC challenge.

    `melascope prepare` reads its ZIPs as they are. An interrupted download resumes, as long as the server has the same
    file.

    Examples:
        $ melascope fetch challenge 2019 --out raw/
    """
    if not dry_run:
        with _stoppable() as progress:
            fetched = ms.fetch_challenge(
                year, out, licenses=_several(license), progress=progress, notify=_notify
            )
        _finish(fetched)
        return
    from melascope.fetch.challenge import chosen, sizes
    from melascope.fetch.folder import free_bytes, readable_size
    from melascope.fetch.isic_api import Archive

    known = sizes(Archive.open(1, _notify), chosen(year, _several(license), _notify))
    for name, size in known.items():
        typer.echo(f"{readable_size(size):>10}  {name}")
    whole, free = readable_size(sum(known.values())), readable_size(free_bytes(out))
    typer.echo(f"{len(known)} files, {whole}; {free} free")


def zips(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS", help="Addresses of ZIPs, or files on this machine."),
    ],
    out: Out,
) -> None:
    """Download ZIPs, and unpack each into a folder of its name.

    A ZIP is refused if it would write outside that folder, holds links, is encrypted, or unpacks to far too much.

    Examples:
        $ melascope fetch zip https://example.org/images.zip --out raw/
    """
    with _stoppable() as progress:
        fetched = ms.fetch_zips(sources, out, progress=progress, notify=_notify)
    _finish(fetched)


app = typer.Typer(
    help="Download images, with their licences. Every file is checked. If interrupted, run the same command to resume.",
    no_args_is_help=True,
)
add(app, isic)
add(app, challenge)
add(app, zips, name="zip")


@contextmanager
def _stoppable() -> Iterator["Progress"]:
    try:
        with progress_bar() as progress:
            yield progress
    except KeyboardInterrupt:
        _notify("stopped; run the same command to resume")
        raise typer.Exit(130) from None


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(text: str) -> tuple[int, ...]:
    words = _several(text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ms.DataError(f"--collections {text}: give numbers, such as 65,70")
    return tuple(map(int, words))


def _notify(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _plan_line(plan: "Plan", out: Path) -> str:
    from melascope.fetch.folder import free_bytes, readable_size

    number = "unknown number of" if plan.images is None else f"{plan.images:,}"
    size = (
        "unknown size" if plan.size is None else f"{'' if plan.exact else 'about '}{readable_size(plan.size)}"
    )
    return f"{number} images, {size}; {readable_size(free_bytes(out))} free"


def _finish(fetched: "ms.Collection") -> None:
    """Print a summary of the folder and each failure."""
    failed = fetched.failed
    for row in failed[:_MAX_NAMED]:
        _notify(f"{fetched.folder / row.path}: {row.reason}")
    if len(failed) > _MAX_NAMED:
        _notify(f"... and {len(failed) - _MAX_NAMED} more, all named in {fetched.folder / 'ledger.jsonl'}")
    try:
        for line in _lines(fetched.counts):
            typer.echo(line)
        typer.echo(fetched.page)
    except ms.DataError as error:
        _notify(f"no summary: {error}")
    if failed:
        files = "1 file" if len(failed) == 1 else f"{len(failed)} files"
        _notify(f"{files} could not be downloaded; run the same command to retry")
        raise typer.Exit(1)


def _lines(counts: "pd.DataFrame") -> Iterator[str]:
    classes = [name for name in counts.columns[2:-1] if counts[name].any()]
    for by, rows in counts.groupby("by", sort=False):
        if by == "class":
            yield from (f"{row.images:>9,} {row.value}" for row in rows.itertuples())
            continue
        shown = rows.head(_MAX_NAMED).to_dict("records")
        yield ""
        yield from table(
            [
                (by, *classes, "images"),
                *((row["value"][:43], *(row[name] for name in classes), row["images"]) for row in shown),
            ]
        )
    yield ""
