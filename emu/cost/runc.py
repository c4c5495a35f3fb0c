"""A container by the runtime that Docker uses: runc, without a daemon.

The bundle is a root file system of one static program, and a config.json (OCI Runtime Specification 1.0.2, config.md and
config-linux.md).  Limits are asked for where this user may make cgroups; where not, the container runs without, and the row
says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from emu.cost import programs
from emu.cost.children import FormError, Sample, die_with_parent, once
from emu.cost.forms import LIMIT, Form, Missing, need
from emu.cost.workloads import Workload

SPACES = "pid", "mount", "ipc", "uts", "network"
MEMORY, PROCESSES, SHARE = 512 << 20, 16, 1024      # the container's limits: bytes, tasks, CPU shares


def reason(error: str) -> str:
    """The last part of what runc says of a failure: before it stand the steps that led there."""
    said = re.search(r'msg="(.*)"', error)
    return said[1].split(": ", 2)[-1] if said else error


class Runc(Form):
    name, what = "runc", "a container: name spaces, cgroup limits, a root file system of one program"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.made = 0
        self.limits = True
        self.id = ""

    def find(self) -> None:
        self.path = need("runc", "runc")
        root = self.directory / "rootfs"
        (root / "proc").mkdir(parents=True, exist_ok=True)
        (root / "work").write_bytes(programs.elf())
        (root / "work").chmod(0o755)
        errors: list[str] = []
        for limits in (True, False):
            self.limits = limits
            try:
                self._run(["5", "1"])
                self.note = "" if limits else f"without cgroup limits, which this user cannot set here: {reason(errors[0])}"
                return
            except FormError as error:
                errors.append(str(error))
        raise Missing(f"runc starts no container here: {reason(errors[-1])}; root with cgroups would provide it")

    def run(self, workload: Workload, rounds: int) -> Sample:
        return self._run([str(workload.number), str(rounds)])

    def output(self, arguments: list[str]) -> str:
        """What the program writes in a container.  Raises FormError."""
        try:
            ended = subprocess.run(self.command(arguments), capture_output=True, timeout=LIMIT, preexec_fn=die_with_parent)
        except (OSError, subprocess.SubprocessError) as error:
            self.close()
            raise FormError(str(error)) from None
        if ended.returncode:
            raise FormError(ended.stderr.decode("utf-8", "replace").strip()[-200:])
        return ended.stdout.decode("utf-8", "replace")

    def _run(self, arguments: list[str]) -> Sample:
        try:
            return once(self.command(arguments), LIMIT, own=True)
        except FormError:
            self.close()
            raise

    def command(self, arguments: list[str]) -> list[str]:
        (self.directory / "config.json").write_text(json.dumps(self._config(["/work", *arguments])))
        self.made += 1
        self.id = f"emu-cost-{os.getpid()}-{self.made}"
        return [self.path, *self._state(), "run", "--bundle", str(self.directory), self.id]

    def _state(self) -> list[str]:
        return ["--root", str(self.directory / "state")]

    def _config(self, arguments: list[str]) -> dict[str, Any]:
        root = os.geteuid() == 0
        spaces = [*SPACES, *(() if root else ("user",))]
        linux: dict[str, Any] = {"namespaces": [{"type": space} for space in spaces],
                                 "maskedPaths": ["/proc/kcore", "/proc/keys"], "readonlyPaths": ["/proc/sys"]}
        if not root:
            linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
            linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
        if self.limits:
            linux["cgroupsPath"] = f"/{self.directory.parent.name}"      # where janitor.py looks for what is left
            linux["resources"] = {"memory": {"limit": MEMORY}, "pids": {"limit": PROCESSES}, "cpu": {"shares": SHARE}}
        return {
            "ociVersion": "1.0.2", "root": {"path": "rootfs", "readonly": False}, "hostname": "emu-cost",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": arguments, "cwd": "/", "env": [],
                        "noNewPrivileges": True,
                        "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")}},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}],
            "linux": linux,
        }

    def close(self) -> None:
        """What is left of a container whose runtime was killed: its process and cgroups."""
        if self.id and (self.directory / "state" / self.id).exists():
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run([self.path, *self._state(), "delete", "--force", self.id], capture_output=True, timeout=20)
        shutil.rmtree(self.directory / "state", ignore_errors=True)
