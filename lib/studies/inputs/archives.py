"""Unpack what others have packed without letting it write anywhere else."""

import re
import shutil
import stat
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from studies.paths import StudyError

# the first releases of Python 3.11, such as Debian 12's, have no filters for tar members
if sys.version_info >= (3, 12):
    import tarfile
else:
    from backports import tarfile


class BadArchive(StudyError):
    """The archive itself is at fault: damaged, unsafe, or not what was expected."""


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into an empty folder; every member is looked at first.

    Raises:
        BadArchive: it is damaged, no archive, or holds an absolute path, a path with `..`, a
            device, or a link out of the folder (in a zip: any link).
        StudyError: it is larger than the room on the disk.
        OSError: the folder cannot be written.

    """
    try:
        if zipfile.is_zipfile(file):
            _unzip(file, folder)
        elif tarfile.is_tarfile(file):

            def check(member: tarfile.TarInfo, where: str) -> tarfile.TarInfo:
                # The filter itself would turn /etc/x into etc/x without a word.
                _inside(file, member.name)
                room(folder, member.size, file)
                return tarfile.data_filter(member, where)

            with tarfile.open(file) as archive:
                archive.extractall(folder, filter=check)
                # tarfile stops before the end of the stream, where gzip keeps its checksum.
                while archive.fileobj.read(1 << 20):
                    pass
        else:
            raise BadArchive(f"{file} is neither a zip nor a tar archive, or is damaged.")
    except tarfile.FilterError as error:
        raise _refusal(file, error.tarinfo.name, "a link or device that") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise BadArchive(f"The archive {file} is damaged ({error}).") from error
    except OSError as error:
        # The decompressors complain of bad data with an OSError that has no number.
        if error.errno is not None:
            raise
        raise BadArchive(f"The archive {file} is damaged ({error}).") from error


def room(folder: Path, size: int, what: object) -> None:
    """Raise a StudyError unless the disk of `folder` has `size` bytes free for `what`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StudyError(
            f"{what} needs {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free: make "
            "room or name another folder in STUDIES_DATA."
        )


def _unzip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            _inside(file, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refusal(file, member.filename, "a link that")
        room(folder, sum(member.file_size for member in members), file)
        for member in tqdm(members, desc=f"unpacking {file.name}", unit="file", delay=2):
            archive.extract(member, folder)


def _inside(file: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match("[A-Za-z]:", name):
        raise _refusal(file, name, "an absolute path that")
    if ".." in path.parts:
        raise _refusal(file, name, "a path with '..' that")


def _refusal(file: Path, name: str, reason: str) -> BadArchive:
    return BadArchive(
        f"The archive {file} was refused: its member {name!r} is {reason} could reach outside the "
        "folder."
    )
