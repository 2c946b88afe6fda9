"""Hostile candidates: nothing gets out, the judge answers with a fitting code, and the next verdict is unaffected.

Each body runs before the honest work is done. One that only tries to look or to signal finds nothing and reaches nobody; where it finds
something after all, it spoils its result, so that the test fails with `wrong-result`.
"""

import os
import secrets
import socket
from pathlib import Path

import pytest
from warploom.evaluation import sandbox
from warploom.evaluation.candidate import Candidate
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.task import Task

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
TASK = Task("twice", "graph", "def twice(x: f32[8, 8]):\n    y: f32[8, 8] = map(x[i0, i1] * 2.0)\n    return y,\n")
VIOLATION = {"sandbox-violation"}
ENDED = {"crash", "sandbox-violation", "memory", "timeout"}

CPP = """#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>
extern "C" char** environ;
extern "C" void kernel(const float* x, float* y) {
  int spoilt = 0;
  BODY
  for (int i = 0; i < 64; i++) y[i] = 2 * x[i] + spoilt;
}
"""
CPP_BODIES = {
    "fork bomb": ("for (;;) fork();", VIOLATION),
    "thread bomb": (
        "for (;;) { pthread_t t; pthread_create(&t, nullptr, [](void*) -> void* { for (;;) sleep(1); }, nullptr); }",
        ENDED,
    ),
    "20 GB": (
        "for (long i = 0; i < 20; i++) { char* p = (char*)malloc(1l << 30); memset(p, 1, 1l << 30); }",
        {"memory", "crash"},
    ),
    "20 GB mapped": (
        "for (long i = 0; i < 20; i++) { void* p = mmap(0, 1l << 30, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); if (p == MAP_FAILED) abort(); memset(p, 1, 1l << 30); }",
        {"memory", "crash"},
    ),
    "network": ("spoilt = socket(AF_INET, SOCK_STREAM, 0) >= 0;", VIOLATION),
    "shadow": ('spoilt = fopen("/etc/shadow", "r") != nullptr;', VIOLATION),
    "shadow by stream": ('std::ifstream in("/etc/shadow"); spoilt = bool(in);', VIOLATION),
    "environment": ('for (char** e = environ; *e; e++) spoilt |= strstr(*e, "WARPLOOM_SECRET") != nullptr;', {"accepted"}),
    "other runs": ('spoilt = open("/dev/shm/SECRET", O_RDONLY) >= 0;', VIOLATION),
    "writes outside": ('std::ofstream out("OUTSIDE"); out << 1; spoilt = bool(out);', VIOLATION),
    "kills the parent": ("spoilt = kill(getppid(), SIGKILL) == 0;", VIOLATION),
    "signals all": ("spoilt = kill(-1, SIGKILL) == 0;", VIOLATION),
    "kills itself": ("raise(SIGKILL);", {"memory", "crash"}),
    "exits": ("_exit(0);", {"crash"}),
    "exits politely": ("exit(0);", {"crash"}),
    "forged verdict": (
        'printf("{\\"accepted\\": true}\\n"); fflush(stdout); for (int fd = 3; fd < 1024; fd++) if (write(fd, "ok 1 0 0 0\\n", 11)) {}',
        VIOLATION,
    ),
    "closes everything": ("for (int fd = 0; fd < 256; fd++) close(fd);", {"crash", "sandbox-violation"}),
    "ptrace": ("spoilt = ptrace(PTRACE_ATTACH, getppid(), 0, 0) == 0;", VIOLATION),
    "fills the disk": ('FILE* f = fopen("/tmp/full", "w"); for (;;) fputs("full", f);', VIOLATION),
    "shell": ('spoilt = system("true") == 0;', VIOLATION),
    "maps the fence anew": ("mmap((void*)(((size_t)(y + 64) + 4095) & ~(size_t)4095), 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);", {"out-of-bounds"}),
    "hides faults": ("signal(SIGSEGV, SIG_IGN);", VIOLATION),
    "endless": ("volatile bool on = true; while (on);", {"timeout"}),
    "stack": (
        "struct R { static int f(int n) { volatile char c[4096]; c[0] = n; return f(n + 1) + c[0]; } }; spoilt = R::f(0);",
        {"crash", "memory"},
    ),
}
PYTHON = """import ctypes, os, socket, subprocess, sys, threading, time
import torch

class ModelNew(torch.nn.Module):
    def forward(self, x):
        spoilt = 0
BODY
        return x + x + spoilt
"""
PYTHON_BODIES = {
    "fork bomb": ("while True: os.fork()", ENDED),
    "20 GB": ("torch.ones(5 * 2**30)", {"memory"}),
    "network": ("s = socket.socket(); s.settimeout(2); s.connect(('127.0.0.1', PORT)); spoilt = 1", VIOLATION),
    "shadow": ("open('/etc/shadow').read(); spoilt = 1", VIOLATION),
    "environment": ("spoilt = 'WARPLOOM_SECRET' in str(os.environ) + open('/proc/1/environ').read()", {"accepted"}),
    "other runs": ("try: spoilt = 'SECRET' in os.listdir('/dev/shm')\nexcept OSError: pass", {"accepted"}),
    "writes outside": ("open('OUTSIDE', 'w').write('x'); spoilt = 1", VIOLATION),
    "kills the parent": ("os.kill(os.getppid(), 9)", VIOLATION),
    "kills by the library": ("ctypes.CDLL(None).kill(-1, 9)", VIOLATION),
    "exits": ("os._exit(0)", {"crash"}),
    "leaves": ("sys.exit(0)", {"crash"}),
    "forged verdict": (
        "print('{\"accepted\": true}', flush=True)\nfor fd in range(3, 512):\n    try: os.write(fd, b'ok 1 0 -1 0\\n')\n    except OSError: pass",
        VIOLATION,
    ),
    "ptrace": ("spoilt = ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0", VIOLATION),
    "fills the disk": ("with open('/tmp/full', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))", ENDED),
    "leaves a process": ("subprocess.Popen(['sleep', '600'])", VIOLATION),
    "leaves a thread": ("threading.Thread(target=time.sleep, args=(600,)).start()", VIOLATION),
    "endless": ("while True: pass", {"timeout"}),
    "recursion": ("sys.setrecursionlimit(10**9); f = lambda n: f(n + 1); f(0)", {"crash", "memory"}),
}
FAST = {"fork bomb", "shadow", "exits", "forged verdict"}
CASES = [
    pytest.param(language, name, marks=() if language == "c++" and name in FAST else pytest.mark.long)
    for language, bodies in (("c++", CPP_BODIES), ("python", PYTHON_BODIES))
    for name in bodies
]  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    with Judge(Settings(measure=False, reference_s=0.2)) as made:
        yield made


@pytest.fixture
def bait():
    """What must not be found: an environment variable, a file among those of other runs, a listener, a place to write to."""
    secret = Path("/dev/shm") / f"warploom-bait-{secrets.token_hex(4)}"
    secret.write_text("hidden")
    outside = Path("/var/tmp") / f"warploom-outside-{secrets.token_hex(4)}"
    os.environ["WARPLOOM_SECRET"] = "hidden"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield {"SECRET": secret.name, "OUTSIDE": str(outside), "PORT": str(listener.getsockname()[1])}
        with pytest.raises(BlockingIOError):
            listener.accept()
    del os.environ["WARPLOOM_SECRET"]
    secret.unlink()
    assert not outside.exists()


def candidate(language, body):
    if language == "c++":
        return Candidate("k.cpp", "c++", CPP.replace("BODY", body))
    indented = "\n".join("        " + line for line in body.split("\n"))
    return Candidate("k.py", "python", PYTHON.replace("BODY", indented))


@pytest.mark.parametrize("language, name", CASES)
def test_nothing_gets_out(judge, bait, language, name):
    body, expected = (CPP_BODIES if language == "c++" else PYTHON_BODIES)[name]
    for word, value in bait.items():
        body = body.replace(word, value) if word != "SECRET" or "WARPLOOM_SECRET" not in body else body
    verdict = judge.verdict(TASK, candidate(language, body))
    said = {"accepted"} if verdict.accepted else set(verdict.reasons[:1])
    assert said <= expected, verdict.findings
    after = judge.verdict(TASK, candidate("c++", ""))
    assert after.accepted, after.findings
