# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP: one request and its response. The only importer of requests and urllib3."""

from __future__ import annotations

import contextlib
import email.utils
import functools
import html
import io
import json
import math
import os
import random
import re
import time
import traceback
import typing as t
import warnings
from http.client import HTTPResponse
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from .errors import AmbiguousWrite, HaloError

REQUESTS_ERROR: str | None = None
try:
    import requests
    import requests.utils
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3 import exceptions as urllib3_errors
    from urllib3.util import Retry, Timeout
except ImportError:
    REQUESTS_ERROR = traceback.format_exc()
    HTTPAdapter = Retry = Session = object  # type: ignore[assignment, misc]

BUSY = frozenset({429})
OUTAGE = frozenset({502, 503, 504})
LONGEST_WAIT = 60.0
WORTH_SAYING = 2.0
LOST_CONNECTIONS = 3
LARGEST = 50 * 1024 * 1024
PLAIN_HTTP_REFUSED = re.compile(r"https (port|server)|ssl-enabled server", re.I)
NOT_TLS = re.compile(r"wrong.version.number|record layer failure|http.request|packet.length.too.long", re.I)
DISTRUST = {
    "expired": "Let it be renewed, and check the clock of this machine.",
    "not yet valid": "Check the clock of this machine.",
    "mismatch": "It is for another host: check {option}.",
    "self-signed": "If it is yours, name it, or the CA that signed it, with halo_ca_path.",
    "issuer": "Name the CA that signed it with halo_ca_path; the server may also fail to send the CAs between.",
}
TLS_ALERT = r"\x15\x03"


class RetryPolicy(Retry):
    """urllib3's retry rules with a budget in seconds for all waiting of one transport together.

    A rate limit (429) is waited out for any method: Halo has not carried the request out. Outages (502, 503,
    504) and lost connections are retried where the method only reads; a connection that could not even
    be opened is retried for any method. Hosted Halo need not send Retry-After, so waits grow by themselves.
    """

    budget: Budget

    def new(self, **changes: t.Any) -> t.Any:
        copy = super().new(**changes)
        copy.budget = self.budget
        return copy

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if not self.budget.left():
            return False
        return status_code in BUSY or (status_code in OUTAGE and method in (self.allowed_methods or ()))

    def parse_retry_after(self, retry_after: str) -> float:
        """Seconds, at most ``LONGEST_WAIT``; 0, which counts as absent, for what is no time to come."""
        seconds = 0.0
        try:
            seconds = float(retry_after)
        except ValueError:
            # the parser of dates raises whatever it stumbles over
            with contextlib.suppress(Exception):
                seconds = email.utils.mktime_tz(email.utils.parsedate_tz(retry_after)) - time.time()  # type: ignore[arg-type]
        return min(seconds, LONGEST_WAIT) if math.isfinite(seconds) and seconds > 0 else 0.0

    def sleep(self, response: t.Any = None) -> None:
        asked = (self.get_retry_after(response) if response is not None else None) or 0.0
        # not all at once: those who are refused at the same moment would come back at the same moment
        grown = min(LONGEST_WAIT, 2.0 ** min(len(self.history) - 1, 10)) * random.uniform(0.8, 1.2)
        status = response.status if response is not None else None
        why = {None: "the connection was lost", 429: "the rate limit is reached"}.get(status, f"Halo answers {status}")
        # whoever is refused again and again waits longer, whatever is asked for
        self.budget.spend(max(asked * random.uniform(1.0, 1.2), grown), why)


Say = t.Callable[[str], None]


def nobody(text: str) -> None:
    """Where nobody can be told while the work goes on."""


class Budget:
    """Seconds that may still be spent waiting.

    :param say: called with a sentence before a wait of which a person wants to know
    """

    def __init__(self, seconds: float, say: Say) -> None:
        self._seconds = float(seconds)
        self._say = say

    def left(self) -> bool:
        return self._seconds > 0

    def spend(self, seconds: float, why: str) -> None:
        seconds = min(seconds, self._seconds)
        self._seconds -= seconds
        if seconds >= WORTH_SAYING:
            self._say(f"{why}; waiting {seconds:.0f} s, and {self._seconds:.0f} s more at most.")
        if seconds > 0:
            sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait before a request is sent again, for the run that this process works for and for no later one.

    A process whose run was killed gets another parent. What it would send now might undo what the next run does.

    :raises HaloError: the run has ended meanwhile
    """
    run = os.getppid()
    time.sleep(seconds)
    if os.getppid() != run:
        raise HaloError("the run that this request belongs to has ended; it is not sent again.")


class Response(t.NamedTuple):
    """What came back: HTTP status, the JSON (None for an empty body), the text for a person (secrets and all).

    :param date: when it was sent by the server's clock, as its header says; empty where it does not
    """

    status: int
    data: t.Any
    text: str
    is_json: bool
    location: str
    date: str = ""


class Transport:
    """Requests to one instance, over one pool of connections.

    Of the environment it reads the proxies (``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy``, in either
    case) and, where ``verify`` is True, ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``. The operating system is not
    asked.

    :param instance: base URL, for error messages
    :param verify: False, True, or the path of a CA file
    :param timeout: seconds for one request, from the connection to the last byte of the response
    :param retry_seconds: seconds of waiting for rate limits and outages, in all
    :param say: called with a line for a person, before a longer wait
    """

    def __init__(
        self, instance: str, *, verify: bool | str, timeout: float, retry_seconds: float, say: Say = nobody
    ) -> None:
        if REQUESTS_ERROR:
            raise HaloError(
                "the Python library 'requests' is missing.",
                instance=instance,
                hint="Install it for the Python that runs this task (pip install requests).",
            )
        self.instance = instance
        self._verify = self._authorities(verify)
        self._timeout = timeout
        self._budget = Budget(retry_seconds, lambda text: say(f"{instance}: {text}"))
        self._answered = False
        self._adapter = _Adapter()
        self._session = _Session()
        # no proxies of the operating system, which kill a forked process on macOS, and no ~/.netrc
        self._session.trust_env = False
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, self._adapter)

    def _authorities(self, verify: bool | str) -> bool | str:
        found = {"halo_ca_path": verify if isinstance(verify, str) else ""}
        if verify is True:
            found = {name: os.environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        for name, path in found.items():
            if path and not os.path.exists(path):
                # requests would raise an OSError that looks like a lost connection
                raise HaloError(f"{name} {path} does not exist.", instance=self.instance)
            if path:
                return path
        return verify

    def close(self) -> None:
        self._session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        path: str,
        query: t.Mapping[str, t.Any] | None = None,
        form: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        token: str | None = None,
    ) -> Response:
        """Send one request, wait out what can be waited out, and return the response whatever its status.

        :param path: how errors call the request (no query, no host)
        :param form: form-encoded body; such a request changes nothing in Halo
        :param body: JSON body
        :raises AmbiguousWrite: a write was sent and no usable response came
        :raises HaloError: nothing was sent, or a read got no usable response
        """
        writes = method != "GET" and form is None
        about: dict[str, t.Any] = {"instance": self.instance, "method": method, "path": path}
        headers = {"Accept": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
        try:
            request = self._session.prepare_request(
                requests.Request(method, url, headers, params=query, data=form, json=body)
            )
        except UnicodeError:
            hint = "Check halo_tenant, halo_client_id, halo_client_secret and halo_scope."
            raise HaloError("a connection option holds what is not text (UTF-8).", hint=hint, **about) from None
        except ValueError:
            raise self._bad_address(url, about) from None
        self._adapter.max_retries = _retry_policy(self._budget, repeatable=not writes)
        for again in range(1, LOST_CONNECTIONS + 2):
            begun = False
            try:
                with warnings.catch_warnings():
                    # Connection.warnings says it once; on standard error it would be stray output
                    warnings.simplefilter("ignore", urllib3_errors.InsecureRequestWarning)
                    received = self._session.send(
                        request,
                        stream=True,
                        timeout=Timeout(total=self._timeout),  # type: ignore[arg-type]
                        verify=self._verify,
                        proxies=_proxies(url),
                        # following a redirect would turn a POST into a GET
                        allow_redirects=False,
                    )
                with received:
                    begun = True
                    content = _content(received)
                break
            except _TooLarge:
                message = f"{method} {path} was answered with more than {LARGEST // 1024**2} MB."
                raise (AmbiguousWrite if writes else HaloError)(message, **about) from None
            except (requests.RequestException, urllib3_errors.HTTPError, OSError, ValueError) as error:
                # urllib3 repeats a read that got no response, not one that got half of it
                half = isinstance(error, requests.exceptions.ChunkedEncodingError)
                if writes or not half or again > LOST_CONNECTIONS or not self._budget.left():
                    raise self._no_response(error, url, about, writes, begun) from None
                self._budget.spend(2.0 ** (again - 1), "the connection was lost")
        response = _response(received, content)
        is_refused = response.status == 400 and url.startswith("http:")
        if is_refused and PLAIN_HTTP_REFUSED.search(content[:2000].decode("latin-1")):
            raise self._speaks_https(url, about)
        self._answered = True
        return response

    def _option(self, url: str) -> str:
        return "halo_url" if url.startswith(self.instance) else "halo_auth_url"

    def _bad_address(self, url: str, about: dict[str, t.Any]) -> HaloError:
        return HaloError("the address is not valid.", hint=f"Check {self._option(url)}.", **about)

    def _speaks_https(self, url: str, about: dict[str, t.Any]) -> HaloError:
        return HaloError("the server speaks https.", hint=f"Write https:// in {self._option(url)}.", **about)

    def _no_response(self, error: Exception, url: str, about: dict[str, t.Any], writes: bool, begun: bool) -> HaloError:
        """The error to raise.

        :param begun: the head of a response had come, so the request had been sent
        """
        cause = _cause(error)
        name = type(cause).__name__
        if not begun and (unsent := self._unsent(error, cause, url, about)):
            return unsent
        late = isinstance(error, requests.Timeout) or name == "ReadTimeoutError"
        request = f"{about['method']} {about['path']}"
        if late:
            message = f"{request} got no answer within {self._timeout:g} seconds."
        else:
            message = f"the connection was lost during {request}."
            if url.startswith("http:") and not self._answered:
                about["hint"] = f"If the server speaks https, write https:// in {self._option(url)}."
        return AmbiguousWrite(message, late=late, **about) if writes else HaloError(message, **about)

    def _unsent(self, error: Exception, cause: BaseException, url: str, about: dict[str, t.Any]) -> HaloError | None:
        """The error where the server cannot have understood the request, None where it may have."""
        name = type(cause).__name__
        text = re.sub(r"\s+", " ", str(cause))
        if TLS_ALERT in text and url.startswith("http:"):
            return self._speaks_https(url, about)
        if "SOCKS" in text and isinstance(error, requests.exceptions.InvalidSchema):
            hint = 'Install what it needs (pip install "requests[socks]"), or check the proxy variables.'
            return HaloError("the proxy speaks SOCKS, which requests cannot do here.", hint=hint, **about)
        if isinstance(error, requests.exceptions.ProxyError):
            return HaloError("the proxy refused the connection.", hint="Check the proxy variables.", **about)
        if isinstance(error, requests.exceptions.SSLError):
            if NOT_TLS.search(text):
                hint = f"Check the port in {self._option(url)}, or write http:// where the server has no TLS."
                return HaloError("the server does not speak https at this address.", hint=hint, **about)
            if found := re.search(r"certificate verify failed: ([^(]+)", text):
                reason = found.group(1).strip()
                hint = next((hint for word, hint in DISTRUST.items() if word in reason), "Check the certificate.")
                message = f"the server's certificate is refused: {reason}."
                return HaloError(message, hint=hint.format(option=self._option(url)), **about)
            if "EOF" not in text:
                hint = "Check the certificate, or name the CA that signed it with halo_ca_path."
                return HaloError(f"TLS failed: {text[:200]}.", hint=hint, **about)
        if name in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError") or isinstance(
            error, requests.ConnectTimeout
        ):
            reasons = {"NameResolutionError": "the host name is unknown", "ConnectTimeoutError": "it timed out"}
            return HaloError(
                f"no connection could be made: {reasons.get(name, _os_reason(cause))}.",
                hint=f"Check {self._option(url)} and the network between.",
                **about,
            )
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)) or isinstance(
            cause, urllib3_errors.LocationValueError
        ):
            if _proxies(url):
                hint = f"Check {self._option(url)} and the proxy variables."
                return HaloError("the address is not valid, or that of the proxy.", hint=hint, **about)
            return self._bad_address(url, about)
        return None


class _TooLarge(Exception):
    """More than ``LARGEST`` bytes came."""


class _Session(Session):
    def get_redirect_target(self, resp: t.Any) -> None:
        """Not looked for: requests would read the whole body of a redirect first."""
        return None


class _Adapter(HTTPAdapter):
    """requests' adapter, whose connections end a response that takes longer than the timeout as a whole."""

    def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._limit(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: t.Any) -> t.Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return manager if known else self._limit(manager)

    @staticmethod
    def _limit(manager: t.Any) -> t.Any:
        classes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _limited(pool) for scheme, pool in classes.items()}
        return manager


@functools.cache
def _limited(pool: t.Any) -> t.Any:
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _LimitedResponse})
    return type("Pool", (pool,), {"ConnectionCls": connection})


class _LimitedResponse(HTTPResponse):
    """A response whose head and body must come, as a whole, within the timeout that the socket has at the start."""

    def __init__(self, sock: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_LimitedReader(self.fp.detach(), sock))


class _LimitedReader(io.RawIOBase):
    """What a socket receives until its timeout is over; by itself the timeout is for each read anew."""

    def __init__(self, raw: t.Any, sock: t.Any) -> None:
        self._raw = raw
        self._sock = sock
        self._end = time.monotonic() + sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return t.cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


def _proxies(url: str) -> dict[str, str]:
    """Proxies by scheme for this address, from the environment alone."""
    found = getproxies_environment()
    if not found:
        return {}
    parts = urlsplit(url)
    host = parts.hostname or ""
    networks = [entry.strip() for entry in found.get("no", "").split(",") if "/" in entry]
    if any(proxy_bypass_environment(name, found) for name in (host, parts.netloc)):
        return {}
    if requests.utils.is_ipv4_address(host):
        valid = [network for network in networks if requests.utils.is_valid_cidr(network)]
        if any(requests.utils.address_in_network(host, network) for network in valid):
            return {}
    return found


def _retry_policy(budget: Budget, repeatable: bool) -> RetryPolicy:
    lost = LOST_CONNECTIONS if budget.left() else 0
    policy = RetryPolicy(
        total=None,
        connect=lost,
        read=lost,
        redirect=0,
        status=None,
        other=0,
        # urllib3 takes an empty set for "any method"
        allowed_methods=frozenset({"GET", "POST"} if repeatable else {"NONE"}),
        raise_on_status=False,
    )
    policy.budget = budget
    return policy


def _cause(error: BaseException) -> BaseException:
    """The innermost error that says what happened, without the URL that requests puts around it."""
    reason = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    if isinstance(reason, urllib3_errors.MaxRetryError) and reason.reason is not None:
        return reason.reason
    return reason or error


def _os_reason(cause: BaseException) -> str:
    found = re.search(r"\[Errno -?\d+\] ([A-Za-z ]+)", str(cause))
    return found.group(1).lower() if found else "no route to it"


def _content(received: t.Any) -> bytes:
    parts, size = [], 0
    for part in received.iter_content(65536):
        size += len(part)
        if size > LARGEST:
            raise _TooLarge
        parts.append(part)
    if received.raw.length_remaining:
        # urllib3 2 says so itself
        raise requests.exceptions.ChunkedEncodingError("the response is not whole")
    return b"".join(parts)


def _response(received: t.Any, content: bytes) -> Response:
    data, is_json = None, True
    # where none is named requests would take Latin-1 for text, in which a secret is not recognised
    named = "charset" in received.headers.get("Content-Type", "").lower()
    try:
        text = content.decode(received.encoding if named else "utf-8", "replace")
    except (LookupError, ValueError, TypeError):
        text = content.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    if text.strip():
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            is_json = False
    return Response(
        status=received.status_code,
        data=data,
        text=_message(data, text),
        is_json=is_json,
        location=received.headers.get("Location", "").split("?")[0] if 300 <= received.status_code < 400 else "",
        date=received.headers.get("Date", ""),
    )


def _message(data: t.Any, text: str) -> str:
    """Halo's message: it answers with plain text, an exception, field errors or an HTML page."""
    if isinstance(data, dict):
        for key in ("error_description", "Message", "message", "error", "title"):
            if isinstance(data.get(key), str) and data[key]:
                return data[key]
        fields = [
            f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in data.items()
            if isinstance(value, (str, list)) and value
        ]
        return "; ".join(fields)
    if isinstance(data, str):
        return data
    if data is not None:
        return ""
    if "<" in text[:100]:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.S | re.I)
        return html.unescape(title.group(1)) + " (an HTML page)" if title else "an HTML page"
    return text
