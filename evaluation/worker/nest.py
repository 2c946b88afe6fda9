"""Sockets and a plan come in, Python candidates are run, one reply line per command goes out. Runs inside the sandbox, alone.

The nest loads torch once; each candidate is a fork that first takes everything away from itself: process, mount, network and IPC
namespaces of its own, a private /tmp, no capabilities, no new privileges, a system call filter. What it says is a claim that
the judge checks from outside.
"""

import array
import ctypes
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import time

import watch

UNWATCHED_S = 0.3
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 24, 22, 38
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC = 2, 4, 4096, 16384
FORBIDDEN = {
    "x86_64": (62, 200, 101, 310, 311, 165, 166, 155, 161, 272, 308, 321, 298, 248, 249, 250, 175, 313, 176, 169, 167, 168, 425, 323, 227, 305,
               164, 159, 304, 303, 163, 179, 135, 246, 320, 170, 171, 256, 279, 434, 438, 424, 424),
    "aarch64": (129, 130, 117, 270, 271, 40, 39, 41, 51, 97, 268, 280, 241, 217, 218, 219, 105, 273, 106, 142, 224, 225, 425, 282, 112, 266,
                170, 171, 265, 264, 89, 60, 92, 104, 294, 161, 162, 238, 239, 434, 438, 424),
}  # fmt: skip
SOCKET = {"x86_64": 41, "aarch64": 198}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


# ---- taking everything away ----
def packages_below(folder: str) -> list[str]:
    """What Python loads from there, for an environment may lie in it; of folders within each other the outer one."""
    found = {os.path.realpath(p) for p in sys.path if os.path.isdir(p)}
    found = {p for p in found if p.startswith(folder + "/")}
    return sorted(p for p in found if not any(p.startswith(q + "/") for q in found))


def contain(plan: dict) -> None:
    """In the forked candidate, process 1 of its own process namespace. Its own session, for a signal to a group reaches beyond namespaces."""
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    shown = [(path, os.open(path, os.O_PATH)) for path in packages_below("/tmp")]
    checked(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=512m"), "tmpfs")
    checked(libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV, None), "proc")
    for path, opened in shown:
        os.makedirs(path)
        checked(libc.mount(f"/proc/self/fd/{opened}".encode(), path.encode(), None, MS_BIND | MS_REC, None), path)
        os.close(opened)
    os.chdir("/tmp")
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * 4096
    most = now + plan["arena"] + plan["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, data = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    checked(libc.capset(header, data), "capset")
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    lock_down()


def lock_down() -> None:
    """System calls that no kernel needs end the process."""
    machine = os.uname().machine
    if machine not in FORBIDDEN:
        raise OSError(f"no system call filter for {machine}")
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050000 | 38
    rules = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT[machine]), (0x06, 0, 0, kill), (0x20, 0, 0, 0)]
    for number in FORBIDDEN[machine]:
        rules += [(0x15, 0, 1, number), (0x06, 0, 0, kill)]
    rules += [(0x15, 0, 1, CLONE3), (0x06, 0, 0, refuse)]
    # clone: no new namespaces; socket: only local ones
    rules += [(0x15, 0, 4, CLONE[machine]), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000), (0x06, 0, 0, kill), (0x20, 0, 0, 0)]
    rules += [(0x15, 0, 4, SOCKET[machine]), (0x20, 0, 0, 16), (0x15, 1, 0, 1), (0x06, 0, 0, kill), (0x20, 0, 0, 0)]
    rules += [(0x06, 0, 0, allow)]
    program = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    holder = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(holder))
    checked(libc.prctl(PR_SET_SECCOMP, 2, filter_, 0, 0), "seccomp")


def clocks() -> dict[str, object]:
    """The objects that tell time; a candidate has no reason to exchange them."""
    import torch

    found = {
        f"time.{n}": getattr(time, n)
        for n in ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time")
    }
    found |= {"torch.cuda.synchronize": torch.cuda.synchronize, "torch.cuda.Event": torch.cuda.Event}
    event = torch.cuda.Event
    return found | {"torch.cuda.Event.elapsed_time": event.elapsed_time, "torch.cuda.Event.record": event.record}


# ---- the candidate ----
class Candidate:
    """A candidate's module with one model per slot whose weights lie in the arena."""

    def __init__(self, channel: socket.socket, arena_fd: int, plan: dict):
        import torch
        from torch.utils import _pytree

        self.torch, self.pytree, self.channel, self.plan = torch, _pytree, channel, plan
        self.shown = clocks()
        self.arena = mmap.mmap(arena_fd, plan["arena"])
        os.close(arena_fd)
        self.slots = [
            [self.tensor(argument, offset) for argument, offset in zip(plan["tensors"], offsets)] for offsets in plan["slots"]
        ]
        self.results: dict[int, object] = {}
        torch.set_num_threads(plan["threads"])
        self.notes = watch.Notes()
        self.watch_files()
        self.module = self.load()
        self.models = self.make()

    def tensor(self, argument: list, offset: int):
        dtype = getattr(self.torch, argument[1])
        count = 1
        for extent in argument[2]:
            count *= extent
        if not count:
            return self.torch.empty(argument[2], dtype=dtype)
        return self.torch.frombuffer(self.arena, dtype=dtype, count=count, offset=offset).reshape(argument[2])

    def say(self, text: str) -> None:
        self.channel.sendall(text.encode(errors="replace")[:60000] + b"\n")

    def end(self, text: str) -> None:
        self.say(text.replace("\n", " "))
        os._exit(4)

    def watch_files(self) -> None:
        """Opening what no kernel needs is reported and ends the process."""
        end, notes = self.end, self.notes.hook

        def hook(event: str, args: tuple) -> None:
            notes(event, args)
            if event == "open" and isinstance(args[0], str | bytes):
                path = os.path.normpath(os.path.join("/tmp", os.fsdecode(args[0])))
                writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                if path in {"/etc/shadow", "/etc/gshadow", "/proc/self/mem"} or (
                    writes and not path.startswith(("/tmp/", "/dev/", "/proc/self/fd"))
                ):
                    end(f"violation it opened {path!r}")
            elif event in {"socket.connect", "os.setuid", "os.unshare"} or (event == "os.kill" and args[0] != os.getpid()):
                end(f"violation it called {event}")

        sys.addaudithook(hook)

    def load(self):
        import importlib.util

        path = "/tmp/candidate.py"
        with open(path, "w") as file:
            file.write(self.plan["source"])
        spec = importlib.util.spec_from_file_location("candidate", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["candidate"] = module
        spec.loader.exec_module(module)
        if not hasattr(module, "ModelNew"):
            self.end("no-model it defines no ModelNew")
        return module

    def make(self) -> list:
        """One model per slot; weights by name, else by order of equal shapes, else as the seed makes them."""
        import copy

        init = pickle.loads(bytes.fromhex(self.plan["init"]))
        self.torch.manual_seed(self.plan["seed"])
        first = self.module.ModelNew(**init[0]) if len(init) == 1 and isinstance(init[0], dict) else self.module.ModelNew(*init)
        wanted = self.plan["state"]
        own = first.state_dict() if hasattr(first, "state_dict") else {}
        shapes = [list(t.shape) for t in own.values()]
        if sorted(own) == sorted(n for n, _ in wanted) and all(list(own[n].shape) == s for n, s in wanted):
            self.order = [n for n, _ in wanted]
        elif shapes == [s for _, s in wanted]:
            self.order = list(own)
        else:
            self.order = []
        self.bound = bool(self.order) or not wanted
        if not self.order:
            return [first] * len(self.slots)
        models = [first] + [copy.deepcopy(first) for _ in self.slots[1:]]
        for model, tensors in zip(models, self.slots):
            places = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
            for name, tensor in zip(self.order, tensors[self.plan["inputs"] : self.plan["inputs"] + len(self.order)]):
                places[name].data = tensor
        return models

    def inputs(self, slot: int) -> list:
        left = iter(self.slots[slot][: self.plan["inputs"]])
        flat = [next(left) if value is None else value for value in self.plan["scalars"]]
        return self.pytree.tree_unflatten(flat, pickle.loads(bytes.fromhex(self.plan["structure"])))

    # ---- commands ----
    def run(self, token: str, first: int, last: int) -> None:
        with self.torch.no_grad():
            for slot in range(first, last):
                self.results[slot] = self.models[slot](*self.given[slot])
        self.say(f"ok {token} {threading.active_count() - 1} -1 0")

    def collect(self, token: str, slot: int) -> None:
        """Copies a call's outputs into the arena. A result that is not what the task returns ends the process."""
        torch = self.torch
        result = self.results.pop(slot)
        found = [v for v in self.pytree.tree_leaves(result) if v is not None]
        places = self.slots[slot][len(self.slots[slot]) - self.plan["outputs"] :]
        if len(found) != len(places):
            self.end(f"shape it returns {len(found)} tensors; {len(places)} are wanted")
        if self.plan["bare"] and isinstance(result, tuple | list | dict):
            self.end(f"shape it returns a {type(result).__name__}; a tensor alone is wanted")
        for number, (value, place) in enumerate(zip(found, places)):
            if isinstance(value, bool | int | float):
                value = torch.as_tensor(value)
            if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.device.type != "cpu":
                self.end(f"shape output {number} is a {type(value).__name__}, not a plain CPU tensor")
            if value.shape != place.shape or value.dtype != place.dtype:
                self.end(
                    f"shape output {number} is {value.dtype} {list(value.shape)}; {place.dtype} {list(place.shape)} is wanted"
                )
            place.copy_(value.detach())
        self.say(f"collect {token}")

    def observe(self, token: str, before: int) -> None:
        """Which library operators one call reaches, after some that nobody watches."""
        until = time.monotonic() + UNWATCHED_S
        with self.torch.no_grad():
            for _ in range(before):
                self.models[0](*self.given[0])
                if time.monotonic() > until:
                    break
        told = watch.heard(self.notes, lambda: self.models[0](*self.given[0]))
        self.say(f"observe {token} {json.dumps(told)}")

    def clock(self, token: str) -> None:
        changed = [name for name, value in clocks().items() if value is not self.shown[name]]
        if changed:
            self.end(f"timer it replaced {', '.join(changed)}")
        self.say(f"clock {token} {time.monotonic_ns()} {time.time_ns()}")

    def serve(self) -> None:
        self.given = [self.inputs(slot) for slot in range(len(self.slots))]
        self.say(f"ready {int(self.bound)}")
        for line in self.channel.makefile("r"):
            verb, token, *rest = line.split()
            getattr(self, verb)(token, *map(int, rest))


def candidate_main(channel: socket.socket, arena_fd: int, plan: dict) -> None:
    """The forked candidate: contains itself, loads, serves."""
    try:
        if plan["contained"]:
            contain(plan)
        channel.sendall(b"hello\n")
        Candidate(channel, arena_fd, plan).serve()
    except MemoryError:
        channel.sendall(b"memory\n")
    except SystemExit as error:
        channel.sendall(f"exception SystemExit({error.code})\n".encode())
    except BaseException as error:
        first = (str(error).strip().splitlines() or [""])[0]
        text = f"exception {type(error).__name__}: {first}"
        if isinstance(error, RuntimeError) and ("can't allocate memory" in first or "not enough memory" in first):
            text = "memory"
        channel.sendall(text.encode(errors="replace")[:400] + b"\n")
    os._exit(4)


def keeper_main(channel: socket.socket, arena_fd: int, plan: dict) -> None:
    """Between nest and candidate: makes the process namespace and reports how its first process ended."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    if plan["contained"]:
        checked(libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS), "unshare")
    child = os.fork()
    if child == 0:
        candidate_main(channel, arena_fd, plan)
    _, status = os.waitpid(child, 0)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    channel.sendall(f"gone {number} {os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0}\n".encode())


def main(door_fd: int) -> None:
    """The nest: loads torch, then forks for each request."""
    import torch  # noqa: F401
    from torch.utils import _python_dispatch  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    door = socket.socket(fileno=door_fd)
    door.sendall(b"up")
    while True:
        message, ancillary, _, _ = door.recvmsg(16, socket.CMSG_LEN(12))
        if not message:
            return
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:12])
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            door.close()
            with os.fdopen(fds[2], "rb") as file:
                plan = json.loads(file.read())
            try:
                keeper_main(socket.socket(fileno=fds[0]), fds[1], plan)
            finally:
                os._exit(0)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]))
