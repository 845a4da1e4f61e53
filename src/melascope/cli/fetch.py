"""`melascope fetch`: images with their licences, from the ISIC Archive, its challenges, and ZIPs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melascope.cli.progress import progress_bar
from melascope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from melascope.fetch.isic import Plan
    from melascope.fetch.isic_api import Archive
    from melascope.fetch.ledger import Row
    from melascope.progress import Progress

app = typer.Typer(
    help="Download images. After a stop, the same command resumes. Exit code 1: some files could not be downloaded.",
    no_args_is_help=True,
)
_NAMED = 20


OUT = typer.Option(help="Raw folder; files in it are kept, checked and completed.")
DRY = typer.Option("--dry-run", help="Show number and size of the files; download nothing.")
LICENSES = typer.Option(
    "--license", help="Only images under these licences: CC-0, CC-BY, CC-BY-NC, separated by commas."
)
JOBS = typer.Option(min=1, max=128, help="Downloads at once.")


@app.command()
def isic(
    out: Annotated[Path, OUT],
    query: Annotated[
        str,
        typer.Option(
            help="In the archive's query language, such as 'diagnosis_1:Malignant AND age_approx:[50 TO 70]'."
        ),
    ] = "",
    collections: Annotated[
        str, typer.Option(help="Only images of these collections: numbers, separated by commas.")
    ] = "",
    license: Annotated[str, LICENSES] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images.")] = None,
    metadata_only: Annotated[
        bool,
        typer.Option("--metadata-only", help="Download tables, attributions and licences, but no images."),
    ] = False,
    dry_run: Annotated[bool, DRY] = False,
    jobs: Annotated[int, JOBS] = 32,
) -> None:
    """Download images of the ISIC Archive, with metadata.csv, attribution.txt and licenses/, for `melascope prepare`.

    Only dermoscopic images, unless the query names an image_type. ledger.jsonl records each file's address, size,
    hash and state. A folder of the official `isic` command is checked and completed.
    """
    from melascope.fetch import isic
    from melascope.fetch.listing import Selection
    from melascope.fetch.query import restricted, translated

    text, notes = translated(query.strip())
    licenses = _several(license)
    text, more = restricted(text, licenses)
    for note in (*notes, *more):
        _notify(note)
    selection = Selection(text, _numbers(collections), limit, licenses)
    archive = _archive(jobs)
    if dry_run:
        typer.echo(_plan_line(isic.plan(archive, selection), out))
        return
    with _stoppable() as progress:
        failed = isic.fetch(
            archive,
            selection,
            out,
            with_images=not metadata_only,
            jobs=jobs,
            progress=progress,
            notify=_notify,
        )
    _finish(out, failed)


@contextmanager
def _stoppable() -> Iterator["Progress"]:
    try:
        with progress_bar() as progress:
            yield progress
    except KeyboardInterrupt:
        _notify("stopped; run the same command to resume")
        raise typer.Exit(130) from None


def _archive(jobs: int) -> "Archive":
    from melascope.fetch.client import Client
    from melascope.fetch.isic_api import Addresses, Archive

    return Archive(Client(jobs, _notify), Addresses.from_environment())


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(text: str) -> tuple[int, ...]:
    words = _several(text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise DataError(f"--collections {text}: give numbers, such as 65,70")
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


def _finish(out: Path, failed: Sequence["Row"]) -> None:
    """Print a summary of the folder and each failure."""
    from melascope.report import collection

    for row in failed[:_NAMED]:
        _notify(f"{out / row.path}: {row.reason}")
    if len(failed) > _NAMED:
        _notify(f"... and {len(failed) - _NAMED} more, all named in {out / 'ledger.jsonl'}")
    try:
        for line in _lines(collection.write(out)):
            typer.echo(line)
        typer.echo(out / collection.PAGE)
    except DataError as error:
        _notify(f"no summary: {error}")
    if failed:
        files = "1 file" if len(failed) == 1 else f"{len(failed)} files"
        _notify(f"{files} could not be downloaded; run the same command to retry")
        raise typer.Exit(1)


def _lines(counted: "pd.DataFrame") -> Iterator[str]:
    classes = [name for name in counted.columns[2:-1] if counted[name].any()]
    for by, rows in counted.groupby("by", sort=False):
        if by == "class":
            yield from (f"{row.images:>9,} {row.value}" for row in rows.itertuples())
            continue
        yield ""
        yield f"{by:44}" + "".join(f"{name:>20}" for name in classes) + f"{'images':>9}"
        for row in rows.head(_NAMED).to_dict("records"):
            counts = "".join(f"{row[name]:>20,}" for name in classes)
            yield f"{row['value'][:43]:44}{counts}{row['images']:>9,}"
    yield ""


@app.command()
def challenge(
    year: Annotated[str, typer.Argument(help="2016, 2017, 2018, 2019, 2020, 2024 or milk10k.")],
    out: Annotated[Path, OUT],
    license: Annotated[str, LICENSES] = "",
    dry_run: Annotated[bool, DRY] = False,
) -> None:
    """Download the images and tables of an ISIC challenge. `melascope prepare` reads its ZIPs as they are.

    A stopped download resumes, as long as the server has the same file.
    """
    from melascope.fetch import challenge as challenges
    from melascope.fetch.folder import free_bytes, readable_size

    chosen = challenges.chosen(year.lower(), _several(license))
    archive = _archive(1)
    _notify(f"licence of these images: {chosen.license}")
    if chosen.note:
        _notify(chosen.note)
    if dry_run:
        sizes = challenges.sizes(archive, chosen)
        for name, size in sizes.items():
            typer.echo(f"{readable_size(size):>10}  {name}")
        typer.echo(
            f"{len(sizes)} files, {readable_size(sum(sizes.values()))}; {readable_size(free_bytes(out))} free"
        )
        return
    with _stoppable() as progress:
        failed = challenges.fetch(archive, chosen, out, progress, _notify)
    _finish(out, failed)


@app.command("zip")
def zips(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="URL_OR_FILE...", help="Addresses of ZIPs, or files on this machine."),
    ],
    out: Annotated[Path, OUT],
) -> None:
    """Download ZIPs and unpack each into a folder of its name.

    A ZIP is refused if it would write outside that folder, holds links, is encrypted, or unpacks to far too much.
    """
    from melascope.fetch import zips

    with _stoppable() as progress:
        failed = zips.fetch(_archive(1), sources, out, progress, _notify)
    _finish(out, failed)
