"""Files of the ISIC challenges on the classification of lesions.

Names, licences and rough sizes are from https://challenge.isic-archive.com/data/ as of 2026. ZIPs stay packed, since
`melascope prepare` reads them as they are. Masks, DICOM copies and other tasks are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melascope import files
from melascope.errors import DataError
from melascope.fetch.client import RefusedError, UnreachableError
from melascope.fetch.folder import PART, opened, require_space
from melascope.fetch.isic_api import Archive
from melascope.fetch.ledger import Row
from melascope.fetch.resumable import ResumableDownload
from melascope.fetch.unpack import check_zip
from melascope.progress import Notify, Progress, quiet, silent

_KB, _MB = 1000, 10**6


@dataclass(frozen=True)
class Challenge:
    """The files of one year."""

    folder: str
    license: str
    sizes: dict[str, int]
    """Rough bytes by file name."""
    note: str = ""


CHALLENGES = {
    "2016": Challenge(
        "2016",
        "CC-0",
        {
            "ISBI2016_ISIC_Part3_Training_Data.zip": 602 * _MB,
            "ISBI2016_ISIC_Part3_Training_GroundTruth.csv": 19 * _KB,
            "ISBI2016_ISIC_Part3_Test_Data.zip": 232 * _MB,
            "ISBI2016_ISIC_Part3_Test_GroundTruth.csv": 7 * _KB,
        },
    ),
    "2017": Challenge(
        "2017",
        "CC-0",
        {
            "ISIC-2017_Training_Data.zip": 5800 * _MB,
            "ISIC-2017_Training_Part3_GroundTruth.csv": 43 * _KB,
            "ISIC-2017_Validation_Data.zip": 878 * _MB,
            "ISIC-2017_Validation_Part3_GroundTruth.csv": 3 * _KB,
            "ISIC-2017_Test_v2_Data.zip": 5400 * _MB,
            "ISIC-2017_Test_v2_Part3_GroundTruth.csv": 13 * _KB,
        },
    ),
    "2018": Challenge(
        "2018",
        "CC-BY-NC",
        {
            "ISIC2018_Task3_Training_Input.zip": 2600 * _MB,
            "ISIC2018_Task3_Training_GroundTruth.zip": 36 * _KB,
            "ISIC2018_Task3_Training_LesionGroupings.csv": 481 * _KB,
            "ISIC2018_Task3_Validation_Input.zip": 51 * _MB,
            "ISIC2018_Task3_Validation_GroundTruth.zip": 7 * _KB,
            "ISIC2018_Task3_Test_Input.zip": 401 * _MB,
            "ISIC2018_Task3_Test_GroundTruth.zip": 11 * _KB,
        },
    ),
    "2019": Challenge(
        "2019",
        "CC-BY-NC",
        {
            "ISIC_2019_Training_Input.zip": 9100 * _MB,
            "ISIC_2019_Training_GroundTruth.csv": 1_266_147,
            "ISIC_2019_Training_Metadata.csv": 1_189_019,
            "ISIC_2019_Test_Input.zip": 3600 * _MB,
            "ISIC_2019_Test_GroundTruth.csv": 456_571,
            "ISIC_2019_Test_Metadata.csv": 285_399,
        },
    ),
    "2020": Challenge(
        "2020",
        "CC-BY-NC",
        {
            "ISIC_2020_Training_JPEG.zip": 24_707_698_022,
            "ISIC_2020_Training_GroundTruth_v2.csv": 2_387_418,
            "ISIC_2020_Training_Duplicates.csv": 11_500,
        },
        "the test images of 2020 are left out: their labels were never published",
    ),
    "2024": Challenge(
        "2024",
        "CC-BY-NC",
        {
            "ISIC_2024_Training_Input.zip": 1200 * _MB,
            "ISIC_2024_Training_GroundTruth.csv": 7 * _MB,
            "ISIC_2024_Training_Supplement.csv": 40 * _MB,
        },
        "the images of 2024 are tiles cut from photographs of the body, not dermoscopy",
    ),
    "milk10k": Challenge(
        "milk10k",
        "CC-BY-NC",
        {
            "MILK10k_Training_Input.zip": 314 * _MB,
            "MILK10k_Training_Metadata.csv": 2 * _MB,
            "MILK10k_Training_Supplement.csv": 549 * _KB,
            "MILK10k_Training_GroundTruth.csv": 287 * _KB,
        },
        "the test images of MILK10k are left out: their labels are not published",
    ),
}
_PERMISSIVE_2024 = Challenge(
    "2024",
    "CC-BY",
    {
        "ISIC_2024_Permissive_Training_Input.zip": 623 * _MB,
        "ISIC_2024_Permissive_Training_GroundTruth.csv": 4 * _MB,
        "ISIC_2024_Permissive_Training_Supplement.csv": 21 * _MB,
    },
    CHALLENGES["2024"].note,
)


def chosen(year: str, licenses: Sequence[str] = (), notify: Notify = quiet) -> Challenge:
    """A challenge, or the part of it under one of some licences.

    Args:
        year: a key of `CHALLENGES`, in capitals or not.
        licenses: any, if empty.
        notify: called with sentences about its licence and its images.

    Raises:
        DataError: if there is no such challenge, or no part under such a licence.
    """
    year = year.lower()
    if year not in CHALLENGES:
        raise DataError(f"{year}: no challenge with images to classify; there are {', '.join(CHALLENGES)}")
    for challenge in (CHALLENGES[year], *([_PERMISSIVE_2024] if year == "2024" else [])):
        if not licenses or challenge.license in licenses:
            notify(f"licence of these images: {challenge.license}")
            if challenge.note:
                notify(challenge.note)
            return challenge
    raise DataError(f"--license {','.join(licenses)}: the challenge {year} is {CHALLENGES[year].license}")


def year_of(name: str) -> str | None:
    """The challenge of a file."""
    listed = {**CHALLENGES, "2024 ": _PERMISSIVE_2024}
    return next((year.strip() for year, challenge in listed.items() if name in challenge.sizes), None)


def sizes(archive: Archive, challenge: Challenge) -> dict[str, int]:
    """Bytes of each file: the server's figure, or else the rough one of the challenge's page."""
    return {name: _served_size(archive, challenge, name) or size for name, size in challenge.sizes.items()}


def _addresses(archive: Archive, challenge: Challenge, name: str) -> list[str]:
    path = f"{challenge.folder}/{name}"
    old = archive.addresses.old_challenges
    return [f"{archive.addresses.files}challenges/{path}", *([f"{old}{path}"] if old else [])]


def _served_size(archive: Archive, challenge: Challenge, name: str) -> int | None:
    for address in _addresses(archive, challenge, name):
        try:
            return archive.client.size(address, tries=3)
        except (RefusedError, UnreachableError):
            continue
    return None


def fetch(
    archive: Archive,
    challenge: Challenge,
    out: Path,
    progress: Progress = silent,
    notify: Notify = quiet,
) -> list[Row]:
    """Download the files of a challenge into a folder, or resume that.

    Args:
        archive: the files' origin.
        challenge: from `chosen`.
        out: the raw folder.
        progress: called with (what, done, total).
        notify: called if a file has moved.

    Returns:
        A row for each file that failed.

    Raises:
        DataError: if the folder cannot be written, or the disk has no room.
    """
    failed = []
    with opened(out) as folder:
        missing = [name for name in challenge.sizes if not folder.ledger.has(name)]
        needed = sum(challenge.sizes[name] for name in missing)
        require_space(out, needed - sum(path.stat().st_size for path in folder.scratch.iterdir()))
        for name in missing:
            addresses = _addresses(archive, challenge, name)
            row = _download(archive, addresses, out / name, folder.scratch / f"{name}{PART}", progress)
            if row.address != addresses[0]:
                notify(f"{name}: from the old address, {row.address}")
            folder.ledger.add(row)
            failed += [row] if row.state == "failed" else []
        if not failed:
            folder.ledger.compact()
    if any(row.reason and "refused" in row.reason for row in failed):
        notify("if the files have moved, https://challenge.isic-archive.com/data/ has their new addresses")
    return failed


def _download(archive: Archive, addresses: list[str], path: Path, part: Path, progress: Progress) -> Row:
    download = ResumableDownload(archive.client, part, progress)
    try:
        address = download.download(addresses)
    except (RefusedError, UnreachableError) as error:
        return Row(path.name, addresses[0], "failed", reason=str(error))
    try:
        check_zip(part, path.name)
    except DataError as error:
        download.discard()
        return Row(path.name, address, "failed", reason=str(error))
    row = Row(path.name, address, "done", part.stat().st_size, files.sha256(part))
    download.move_to(path)
    return row
