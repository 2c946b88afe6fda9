"""A server on the loopback that speaks the OpenAI protocol and misbehaves on schedule. It keeps a log of what it served and what it charged."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("429", "500", "truncated", "stall", "empty", "huge", "odd fence")


class FakeServer:
    """`answer(messages) -> text`; `failures`: the share of requests that fail, drawn from `kinds` by a seed. Use as a context manager."""

    def __init__(self, answer: Callable[[list], str], failures: float = 0.0, kinds=("429", "500", "truncated"), seed: int = 0, slow_s: float = 0.0, stall_s: float = 30.0):
        self.answer, self.failures, self.kinds, self.slow_s, self.stall_s = answer, failures, kinds, slow_s, stall_s
        self._random, self._lock = random.Random(seed), threading.Lock()
        self.served: list[dict] = []  # answers that went out whole, with their usage
        self.asked: list[str] = []  # the text of each request's messages
        self.keys: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def tokens(self) -> int:
        """Tokens of all answers that went out whole."""
        return sum(u["total_tokens"] for u in self.served)

    def draw(self) -> str:
        """What happens to the next request: "" or a kind of failure."""
        with self._lock:
            return self._random.choice(self.kinds) if self._random.random() < self.failures else ""

    def reply(self, messages: list, most: int, empty: bool) -> dict:
        """A whole answer, logged."""
        text = "" if empty else self.answer(messages)
        asked = sum(len(m["content"].split()) for m in messages)
        made = min(most, len(text.split()))
        usage = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return {"id": "x", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice], "usage": usage}

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    server.asked.append(json.dumps(body["messages"]))
                    server.keys.append(self.headers.get("authorization", ""))
                time.sleep(server.slow_s)
                kind = server.draw()
                if kind in ("429", "500"):
                    told = {"error": {"message": f"no: {self.headers.get('authorization')}", "type": "server_error", "code": kind}}
                    return self.send(int(kind), json.dumps(told).encode(), {"retry-after": "0.05"} if kind == "429" else {})
                if kind == "stall":
                    time.sleep(server.stall_s)
                value = server.reply(body["messages"], body.get("max_tokens", 1 << 30), kind == "empty")
                if kind == "huge":
                    value["choices"][0]["message"]["content"] += "\n" + "x" * (1 << 20)
                text = json.dumps(value).encode()
                if kind == "truncated":
                    return self.send(200, text[: len(text) // 2], {})
                with server._lock:
                    server.served.append(value["usage"])
                self.send(200, text, {})

            def send(self, status: int, body: bytes, headers: dict) -> None:
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    for key, value in headers.items():
                        self.send_header(key, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

        return Handler
