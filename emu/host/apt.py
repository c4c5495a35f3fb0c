"""Files out of Debian packages, through this machine's own apt: no root, and nothing changed outside our directory.

apt gets a private state (lists, caches, an empty dpkg status, its hooks removed) and keeps the machine's sources, keys,
pins and proxies.  Integrity is apt's: the package's hash stands in an index whose hash stands in the signed InRelease.
Sources: apt.conf(5), apt-get(8), apt's README.progress-reporting (the status lines), deb(5).

Not done: dependencies, compressed members, packages that only a newer or older release of the system has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from .manifest import FetchError, Origin, Progress

# #clear empties a list that the machine's own configuration has filled: hooks run programs that write elsewhere, and
# index targets (desktop metadata, file contents, translations) are downloads that nothing here reads.
_CONF = """\
Dir::State "{root}/state/";
Dir::State::lists "{root}/state/lists/";
Dir::State::status "{root}/state/status";
Dir::State::extended_states "{root}/state/extended_states";
Dir::Cache "{root}/cache/";
Dir::Cache::archives "{root}/cache/archives/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "{root}/log/";
APT::Sandbox::User "root";
#clear APT::Architectures;
APT::Architectures {{ {architectures} }};
#clear APT::Update;
#clear DPkg;
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages"; flatMetaKey "Packages"; ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages"; flatDescription "$(RELEASE) Packages"; Optional "0";
}};
"""


def obtain(origin: Origin, wanted: Mapping[str, Path], root: Path, scratch: Path, progress: Progress) -> str:
    """Download a package, write its members `wanted` (path in the package -> file), and return its version.

    `root` keeps apt's private state from one call to the next; the package itself is in `scratch` and gone at the end.
    Raises FetchError, and OSError (a full disk).
    """
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise FetchError(f"this machine has no {program}; images come out of Debian packages, so it is needed")
    package = _download(origin, root, scratch, progress)
    version = _ask("dpkg-deb", "-f", str(package), "Version")
    progress(f"unpacking {origin.package} {version}", None)
    _extract(package, wanted)
    package.unlink()
    return version


def _download(origin: Origin, root: Path, scratch: Path, progress: Progress) -> Path:
    conf = _configure(origin, root)
    complaints = _apt_get(conf, ["update"], scratch, "reading the package index", progress)[1]
    name = origin.package if origin.architecture == "all" else f"{origin.package}:{origin.architecture}"
    status, errors = _apt_get(conf, ["download", name], scratch, f"fetching {origin.package}", progress)
    packages = sorted(scratch.glob("*.deb"))
    if status == 0 and packages:
        return packages[0]
    unknown = any(sign in line for line in errors for sign in ("Unable to locate", "Can't find", "no installation"))
    if unknown and complaints:  # it may well exist: the index could not be had
        raise FetchError(f"apt cannot get its package index: {_worst(complaints)}")
    if unknown:
        raise FetchError(f"this machine's apt sources have no package {name}; last tested was {origin.version}")
    raise FetchError(f"apt cannot download {name}: {_worst(errors) or f'apt-get ended with status {status}'}")


def _configure(origin: Origin, root: Path) -> Path:
    """Write apt's private configuration; a package of a foreign architecture needs that architecture's index too."""
    native = _ask("apt-config", "shell", "A", "APT::Architecture").partition("=")[2].strip("'\"")
    architectures = dict.fromkeys([native, origin.architecture if origin.architecture != "all" else native])
    if any(mark in str(root) for mark in '";\n'):
        raise FetchError(f"apt's configuration cannot hold the path {str(root)!r}; set EMU_CACHE to another directory")
    for directory in ("state/lists/partial", "cache/archives/partial", "log"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "state/status").write_bytes(b"")
    conf = root / "apt.conf"
    conf.write_text(_CONF.format(root=root, architectures=" ".join(f'"{name}";' for name in architectures)))
    return conf


def _apt_get(conf: Path, what: list[str], cwd: Path, title: str, progress: Progress) -> tuple[int, list[str]]:
    """Run apt-get; its exit status, and its lines that say error or warning.  It ends when we are interrupted."""
    progress(title, None)
    log = cwd / "apt.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            ["apt-get", "-c", str(conf), "-q=2", "-o", "APT::Status-Fd=1", *what],
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        try:
            assert child.stdout is not None
            for line in child.stdout:
                fields = line.decode(errors="replace").split(":")
                if fields[0] == "dlstatus" and len(fields) > 2:  # dlstatus:files:percent:text
                    progress(title, _fraction(fields[2]))
            status = child.wait()
        finally:
            _finish(child)
    lines = log.read_text(errors="replace").splitlines()
    log.unlink()
    return status, [line.strip() for line in lines if line.startswith(("E: ", "W: "))]


def _fraction(percent: str) -> float | None:
    try:
        return min(max(float(percent) / 100, 0.0), 1.0)
    except ValueError:
        return None


def _worst(lines: Sequence[str]) -> str:
    """The line that says most: what failed to be fetched and why; otherwise the last error, the last warning."""
    for sign in ("Failed to fetch", "E: ", "W: "):
        for line in reversed(lines):
            if sign in line and "Some index files failed" not in line:
                return " ".join(line[3:].split())
    return ""


def _extract(package: Path, wanted: Mapping[str, Path]) -> None:
    """Write the members `wanted` of a .deb; the archive is read as a stream, and only as far as the last of them."""
    missing = dict(wanted)
    child = subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
            for member in archive:
                target = missing.pop(member.name.removeprefix("./"), None)
                if target is not None:
                    _copy(archive.extractfile(member) if member.isfile() else None, member.name, target)
                if not missing:
                    return
    except tarfile.TarError as error:
        raise FetchError(f"{package.name} cannot be unpacked: {error}") from None
    finally:
        _finish(child)
    raise FetchError(f"{package.name} has no {next(iter(missing))}; its layout is not that of the version last tested")


def _copy(source: IO[bytes] | None, name: str, target: Path) -> None:
    if source is None:
        raise FetchError(f"{name} in the package is not a plain file")
    with source, target.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _finish(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    if child.stdout is not None:
        child.stdout.close()
    child.wait()


def _ask(*command: str) -> str:
    """What a short command prints.  Raises FetchError with its last line of complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    except OSError as error:
        raise FetchError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise FetchError(f"{command[0]} failed: {last}")
    return done.stdout.strip()
