"""`orchestra bundle`: one archive with all that somebody needs who is to help, and without secrets."""

import gzip
import io
import os
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.text import format_size, make_visible
from orchestra_supervisor.cli.words import whole_of
from orchestra_supervisor.model.errors import ConflictError

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument("file", nargs="?", metavar="FILE", help="default: orchestra-DATE-TIME.tar.gz, here")
    parser.option(
        "--logs", type=whole_of, default=500, metavar="N", help="newest N lines of each log (default: 500)"
    )
    parser.option(
        "--with-env",
        action="store_true",
        help="show the environment of services; variables with a telling name stay masked",
    )


def run(options: Options) -> int:
    """Write the archive; an existing file is never touched."""
    # It loads the configuration's own code; the other commands, and completion, have no use for that.
    from orchestra_supervisor.cli.bundle.collect import collect, manifest_of

    name = time.strftime("orchestra-%Y%m%d-%H%M%S")
    target = Path(options.file or f"{name}.tar.gz")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConflictError(
            f"{target} is there already", hint="name another file, or move it away"
        ) from error
    except OSError as error:
        raise ActionFailed(f"{target} cannot be made: {error.strerror}", hint="name another file") from error
    try:
        bundle = collect(
            Path(home_of(options.home)), Path.cwd(), lines=options.logs, is_env_shown=options.with_env
        )
        manifest = manifest_of(bundle, lines=options.logs, is_env_shown=options.with_env)
        with os.fdopen(descriptor, "wb") as file:
            _pack(file, name, [("MANIFEST.txt", manifest), *bundle.parts])
    except BaseException:
        # Half an archive would be sent by somebody.
        with suppress(OSError):
            target.unlink()
        raise
    told = [f"{target}: {format_size(target.stat().st_size)}", *manifest.splitlines()]
    sys.stdout.writelines(f"{make_visible(line)}\n" for line in told)
    return 0


def _pack(file: io.BufferedWriter, name: str, parts: list[tuple[str, str]]) -> None:
    with gzip.GzipFile("", "wb", fileobj=file) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for place, text in parts:
            data = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{name}/{place}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
