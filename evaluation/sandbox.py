"""A command with limits comes in, a contained process goes out: no network, no environment, no files but the system's.

The stack: resource limits, an unprivileged uid of its own per run (as root), no new privileges, and bubblewrap with every
namespace unshared and every capability dropped. Only the system's program folders are visible, read-only; what a run may
read comes in through file descriptors, and nothing it writes survives it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..ir.diagnostic import MissingTool

GIB = 1 << 30
_SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
_SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
_SAFE_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Limits:
    """What one contained process may use; `cpu_s` is processor seconds, bytes are per process."""

    cpu_s: int = 60
    memory: int = 4 * GIB
    file: int = 256 << 20
    processes: int = 96
    open_files: int = 128
    scratch: int = 512 << 20
    stack: int = 512 << 20  # C that keeps whole tensors in local arrays is wasteful, not wrong


@dataclass(frozen=True)
class Sandbox:
    """How to start contained processes here; `enabled=False` is `--unsafe-no-sandbox`."""

    enabled: bool = True

    def start(
        self,
        argv: list[str],
        *,
        limits: Limits,
        fds: tuple[int, ...] = (),
        read_only: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        capabilities: tuple[str, ...] = (),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) -> subprocess.Popen:
        """Starts `argv` as the leader of a session of its own; `fds` keep their numbers inside."""
        env = {"PATH": _SAFE_PATH, "HOME": "/tmp", "LC_ALL": "C", **(environment or {})}
        command = _limited(limits)
        if self.enabled:
            command += _unprivileged() + _contained(limits, read_only, env, capabilities)
            command = _reachable(read_only) + command
        return subprocess.Popen(
            command + argv,
            env={"PATH": _SAFE_PATH} if self.enabled else env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=fds,
            cwd="/" if self.enabled else tempfile.gettempdir(),
        )


def kill(process: subprocess.Popen) -> None:
    """Ends a contained process with everything it started, and reaps it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def required() -> Sandbox:
    """The sandbox of this machine. Raises `MissingTool` (exit 3) that says what is missing."""
    problem = unavailable()
    if problem:
        raise MissingTool(f"no sandbox for untrusted code: {problem[0]}", hint=problem[1])
    return Sandbox()


@cache
def unavailable() -> tuple[str, str] | None:
    """None where the sandbox works, or (what is wrong, what to do)."""
    tools = {"bwrap": "bubblewrap", "prlimit": "util-linux", "setpriv": "util-linux"}
    for tool, package in tools.items():
        if not shutil.which(tool):
            return f"{tool} is not installed", f"install {package}, or accept the risk with --unsafe-no-sandbox"
    probe = Sandbox().start(["/bin/true"], limits=Limits(), stderr=subprocess.PIPE)
    _, said = probe.communicate(timeout=30)
    if probe.returncode:
        why = said.decode(errors="replace").strip().splitlines()
        return (
            why[-1] if why else "bubblewrap ends without a message",
            "allow user namespaces, or accept the risk with --unsafe-no-sandbox",
        )
    return None


def _limited(limits: Limits) -> list[str]:
    taken = 0 if os.geteuid() == 0 else _own_processes()
    return [
        shutil.which("prlimit") or "prlimit",
        f"--cpu={limits.cpu_s}:{limits.cpu_s + 1}",
        f"--as={limits.memory}",
        f"--fsize={limits.file}",
        f"--stack={limits.stack}",
        f"--nproc={limits.processes + taken}",
        f"--nofile={limits.open_files}",
        "--core=0",
    ]


def _own_processes() -> int:
    """Threads of this user now: an ordinary user's process limit counts them too."""
    count, me = 0, os.getuid()
    for entry in Path("/proc").glob("[0-9]*/task"):
        try:
            count += len(os.listdir(entry)) if entry.stat().st_uid == me else 0
        except OSError:
            continue
    return count


def _unprivileged() -> list[str]:
    """As root, a uid that nothing else on the machine has: its process limit and its files are its own."""
    if os.geteuid() != 0:
        return []
    uid = random.SystemRandom().randrange(700_000, 1_700_000)
    return [shutil.which("setpriv") or "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--pdeathsig", "KILL"]


def _contained(limits: Limits, read_only: tuple[str, ...], env: dict[str, str], capabilities: tuple[str, ...]) -> list[str]:
    command = [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-all", "--uid", "65534", "--gid", "65534"]
    command += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
    command += ["--cap-drop", "ALL"]
    for capability in capabilities:
        command += ["--cap-add", capability]
    if not capabilities:
        command += ["--disable-userns"]
    command += ["--ro-bind", "/usr", "/usr"]
    for folder in _SYSTEM_FOLDERS:
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    for file in _SYSTEM_FILES:
        command += ["--ro-bind-try", file, file]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.scratch), "--tmpfs", "/tmp"]
    for path in read_only:  # after /tmp: the project itself may lie below it
        command += ["--ro-bind", _stage(path), path]
    command += ["--chdir", "/tmp"]
    for name, value in env.items():
        command += ["--setenv", name, value]
    return command


def _hidden(path: str) -> bool:
    """True where an unprivileged uid cannot reach `path` from the root folder."""
    return os.geteuid() == 0 and any(not (p.stat().st_mode & stat.S_IXOTH) for p in Path(path).resolve().parents)


@cache
def _staging() -> str:
    """A world-reachable, empty folder tree of mount points for paths that only root can reach."""
    folder = tempfile.mkdtemp(prefix="warploom-mounts-")
    os.chmod(folder, 0o711)
    return folder


def _stage(path: str) -> str:
    """Where bubblewrap finds `path`: itself, or a mount point made by `_reachable`."""
    return os.path.join(_staging(), path.strip("/").replace("/", "-")) if _hidden(path) else path


def _reachable(read_only: tuple[str, ...]) -> list[str]:
    """A private mount namespace in which hidden paths are bound where an unprivileged uid reaches them."""
    hidden = [path for path in read_only if _hidden(path)]
    if not hidden:
        return []
    for path in hidden:
        os.makedirs(_stage(path), exist_ok=True)
    script = "".join(f'mount --bind "{path}" "{_stage(path)}" && ' for path in hidden) + 'exec "$@"'
    return [shutil.which("unshare") or "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"]
