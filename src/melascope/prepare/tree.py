"""A folder or a ZIP seen the same way: the images and tables it holds, each with a change mark."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from melascope import files
from melascope.errors import DataError
from melascope.images import EXTENSIONS

TABLE_EXTENSIONS = frozenset({".csv"})
# Superpixels come with the ISIC 2017 images, the other endings mark lesion masks of the challenges.
_NOT_PHOTOGRAPHS = ("_superpixels", "_segmentation", "_mask")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tree."""

    name: str
    """Path inside the tree, with forward slashes."""
    locator: str
    size: int
    """Bytes, as the directory says."""
    mark: str
    """Changes when the file does: times of change of a file, CRC of a member of a ZIP."""

    @property
    def stem(self) -> str:
        """Name without folders and extension."""
        return PurePosixPath(self.name).stem


@dataclass(frozen=True)
class Tree:
    """What a folder or a ZIP holds, each part sorted by name."""

    path: str
    """Absolute path, without links."""
    images: tuple[Member, ...]
    tables: tuple[Member, ...]
    passed_over: tuple[Member, ...]
    """Masks and superpixels."""

    @property
    def name(self) -> str:
        """Name of the folder, or of the ZIP without its extension."""
        path = Path(self.path)
        return path.stem if path.suffix.lower() == ".zip" else path.name


def open_trees(source: str | Path) -> list[Tree]:
    """List what one argument of the command holds.

    Args:
        source: a folder, a ZIP or a CSV. ZIPs that lie in a folder are trees of their own.

    Raises:
        DataError: if it is missing, of another kind, a damaged ZIP, or a link out of the folder.
    """
    path = Path(source).resolve()
    if path.is_dir():
        members = list(_walk(path))
        archives = [member.locator for member in members if _suffix(member.name) == ".zip"]
        return [_tree(path, members), *(_tree(Path(zip_), list(_members(zip_))) for zip_ in archives)]
    if not path.is_file():
        raise DataError(f"{source}: no such folder, ZIP or CSV")
    if path.suffix.lower() == ".zip":
        return [_tree(path, list(_members(str(path))))]
    if path.suffix.lower() in TABLE_EXTENSIONS:
        return [Tree(str(path), (), (_file(path, path.name, path.stat()),), ())]
    raise DataError(f"{source}: not a folder, a .zip or a .csv; give the folder that holds the images")


def images_of(sources: Iterable[str]) -> list[str]:
    """Name the images of files, folders and ZIPs, in the order given.

    Folders and ZIPs are read in sorted order: of a folder the loose images, then those in each of its ZIPs.
    Hidden files and lesion masks are left out. A file is taken as it is, under any name, even if it is missing.

    Returns:
        Locators, which begin as the sources do.

    Raises:
        DataError: for a folder or ZIP that holds no image or cannot be opened.
    """
    return [locator for source in sources for locator in _images_of(source)]


def _images_of(source: str) -> Iterator[str]:
    path = Path(source)
    if not (path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file())):
        yield source
        return
    trees = open_trees(source)
    if not any(tree.images for tree in trees):
        raise DataError(f"{source}: holds no images")
    for tree in trees:
        # Named as the user named the folder, not by the absolute paths that trees carry.
        named = os.path.normpath(os.path.join(source, os.path.relpath(tree.path, path.resolve())))
        for member in tree.images:
            if Path(tree.path).is_dir():
                yield os.path.join(named, member.name)
            else:
                yield f"{named}{files.MEMBER}{member.name}"


def _tree(path: Path, members: list[Member]) -> Tree:
    members = sorted(members, key=lambda member: member.name)
    images = [member for member in members if _suffix(member.name) in EXTENSIONS]
    photographs = tuple(m for m in images if not m.stem.lower().endswith(_NOT_PHOTOGRAPHS))
    tables = tuple(member for member in members if _suffix(member.name) in TABLE_EXTENSIONS)
    passed_over = tuple(m for m in images if m.stem.lower().endswith(_NOT_PHOTOGRAPHS))
    return Tree(str(path), photographs, tables, passed_over)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _walk(root: Path) -> Iterator[Member]:
    real = root.resolve()
    for folder, folders, names in os.walk(root, followlinks=False, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in names:
            path = Path(folder) / name
            if _hidden(name) or (path.is_symlink() and not path.resolve().is_relative_to(real)):
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # a link to nowhere, or a file that has just gone
            shown = str(path).encode("utf-8", "replace").decode()
            if shown != str(path):
                raise DataError(f"{shown}: a name that is not UTF-8; rename the file")
            if stat.S_ISREG(status.st_mode):  # reading a pipe or a device could block forever
                yield _file(path, path.relative_to(root).as_posix(), status)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: {error.strerror}") from error


def _file(path: Path, name: str, status: os.stat_result) -> Member:
    # The second time changes with the permissions too, so that a corrected one is noticed.
    return Member(name, str(path), status.st_size, f"{status.st_mtime_ns}.{status.st_ctime_ns}")


def _members(path: str) -> Iterator[Member]:
    seen: set[str] = set()
    for info in files.open_zip(path).infolist():
        hidden = any(_hidden(part) for part in PurePosixPath(info.filename).parts)
        if info.is_dir() or hidden or info.filename in seen:
            continue
        seen.add(info.filename)
        locator = f"{path}{files.MEMBER}{info.filename}"
        yield Member(info.filename, locator, info.file_size, f"{info.CRC:08x}")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
