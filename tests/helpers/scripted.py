# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server that follows a script: each request must be the next one expected, and there must be no other."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_ANY = object()


class Script:
    """Exchanges in their order, on 127.0.0.1. As a context manager it fails at the end if one is left or was wrong.

    ``url`` is the server's address; ``seen`` holds for each request method, path, headers and raw body.

    :param tls: to serve https
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self._expected: list[dict[str, Any]] = []
        self._over = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # head and body in one packet: the second would wait for the first to be acknowledged
            wbufsize = -1

            def do_GET(self) -> None:
                script._serve(self)

            do_POST = do_DELETE = do_PUT = do_GET

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)

    def expect(
        self,
        request: str,
        *,
        query: dict[str, str] | None = None,
        form: Any = _ANY,
        sent: Any = _ANY,
        token: Any = _ANY,
        status: int = 200,
        answer: Any = None,
        text: str | bytes | None = None,
        headers: dict[str, str] | None = None,
        fault: str | None = None,
    ) -> None:
        """The next request, and what to answer.

        :param request: method and path
        :param query: the whole query; None for none
        :param form: form-encoded body as a dictionary
        :param sent: JSON body
        :param token: bearer token, None for none
        :param answer: JSON to answer; ``text`` instead for anything else
        :param fault: reset, truncate or hang instead of an answer; drip and drip-head send it byte by byte, slowly;
            tls-alert is what some servers say to plain http
        """
        method, path = request.split(" ")
        self._expected.append(
            {
                "method": method,
                "path": path,
                "query": query or {},
                "form": form,
                "sent": sent,
                "token": token,
                "status": status,
                "body": text if text is not None else json.dumps(answer) if answer is not None else "",
                "headers": headers or {},
                "fault": fault,
                "json": text is None,
            }
        )

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if kind is None:
            assert not self.wrong, self.wrong
            left = [f"{exchange['method']} {exchange['path']}" for exchange in self._expected]
            assert not left, f"never came: {left}"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(handler.path)
        request = {
            "method": handler.command,
            "path": parts.path,
            "query": dict(parse_qsl(parts.query, keep_blank_values=True)),
            "headers": dict(handler.headers.items()),
            "body": body,
        }
        self.seen.append(request)
        if not self._expected:
            self.wrong.append(f"not expected: {handler.command} {handler.path} {body}")
            _answer(handler, 599, "", {})
            return
        exchange = self._expected.pop(0)
        wrong = _differences(exchange, request)
        if wrong:
            self.wrong.append(f"{handler.command} {handler.path}: " + "; ".join(wrong))
            _answer(handler, 599, "", {})
            return
        headers = {"Content-Type": "application/json" if exchange["json"] else "text/html", **exchange["headers"]}
        if exchange["fault"] == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
        elif exchange["fault"] == "hang":
            self._over.wait(10)
            handler.close_connection = True
        elif exchange["fault"] == "tls-alert":
            handler.wfile.write(b"\x15\x03\x03\x00\x02\x02\x50")
            handler.close_connection = True
        elif exchange["fault"] in ("drip", "drip-head"):
            handler.close_connection = True
            self._drip(handler, whole_head=exchange["fault"] == "drip")
        elif exchange["fault"] == "truncate":
            half = exchange["body"][: len(exchange["body"]) // 2]
            _answer(
                handler, exchange["status"], half, {**headers, "Content-Length": str(len(exchange["body"].encode()))}
            )
            handler.close_connection = True
        else:
            _answer(handler, exchange["status"], exchange["body"], headers)

    def _drip(self, handler: BaseHTTPRequestHandler, whole_head: bool) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        handler.wfile.write(head + (b"Content-Length: 100000\r\n\r\n[" if whole_head else b"X-Header: "))
        for _byte in range(60):
            if self._over.wait(0.05):
                return
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return


def _differences(exchange: dict[str, Any], request: dict[str, Any]) -> list[str]:
    body: Any = request["body"]
    expected = {name: exchange[name] for name in ("method", "path", "query")}
    found = {name: request[name] for name in expected}
    if exchange["form"] is not _ANY:
        found["form"], expected["form"] = dict(parse_qsl(body, keep_blank_values=True)), exchange["form"]
        found["type"], expected["type"] = request["headers"].get("Content-Type"), "application/x-www-form-urlencoded"
    if exchange["sent"] is not _ANY:
        found["sent"], expected["sent"] = json.loads(body) if body else None, exchange["sent"]
        found["type"], expected["type"] = request["headers"].get("Content-Type"), "application/json"
    if exchange["token"] is not _ANY:
        found["token"] = request["headers"].get("Authorization")
        expected["token"] = f"Bearer {exchange['token']}" if exchange["token"] else None
    return [
        f"{name}: {value!r} came, not {expected[name]!r}" for name, value in found.items() if value != expected[name]
    ]


def _answer(handler: BaseHTTPRequestHandler, status: int, body: str | bytes, headers: dict[str, str]) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)
