# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP: one request and its answer. The only importer of requests and urllib3."""

from __future__ import annotations

import html
import os
import random
import re
import time
import traceback
import typing as t

from .errors import HaloError, UnknownFate

REQUESTS_ERROR: str | None = None
try:
    import requests
    import requests.adapters
    import requests.auth
    from urllib3 import exceptions as urllib3_errors
    from urllib3.util.retry import Retry
except ImportError:
    REQUESTS_ERROR = traceback.format_exc()
    Retry = object  # type: ignore[assignment, misc]

BUSY = frozenset({429})
OUTAGE = frozenset({502, 503, 504})
LONGEST_WAIT = 60.0
LOST_CONNECTIONS = 3


class Patience(Retry):
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

    def sleep(self, response: t.Any = None) -> None:
        asked = self.get_retry_after(response) if response is not None else None
        # not all at once: the tenants of a fleet are refused at the same moment
        grown = min(LONGEST_WAIT, 2.0 ** (len(self.history) - 1)) * random.uniform(0.8, 1.2)
        self.budget.spend(asked or grown)


class Budget:
    """Seconds that may still be spent waiting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = float(seconds)

    def left(self) -> bool:
        return self._seconds > 0

    def spend(self, seconds: float) -> None:
        seconds = min(seconds, self._seconds)
        self._seconds -= seconds
        if seconds > 0:
            rest(seconds)


def rest(seconds: float) -> None:
    """Wait between two attempts.

    :raises HaloError: the run that this process works for was killed meanwhile; the next run may be at work already
    """
    run = os.getppid()
    time.sleep(seconds)
    if os.getppid() != run:
        raise HaloError("the run that this request belongs to has ended; it is not sent again.")


class Answer(t.NamedTuple):
    """What came back: HTTP status, the JSON (None for an empty body), the text for a person (secrets and all)."""

    status: int
    data: t.Any
    text: str
    is_json: bool
    location: str


class Transport:
    """Requests to one instance, over one pool of connections.

    :param instance: base URL, for error messages
    :param verify: False, True, or the path of a CA file
    :param timeout: seconds for one request
    :param retry_seconds: seconds of waiting for rate limits and outages, in all
    """

    def __init__(self, instance: str, *, verify: bool | str, timeout: float, retry_seconds: float) -> None:
        if REQUESTS_ERROR:
            raise HaloError(
                "the Python library 'requests' is missing.",
                instance=instance,
                hint="Install it for the Python that runs this task (pip install requests).",
            )
        if isinstance(verify, str) and not os.path.exists(verify):
            # requests would raise an OSError that looks like a lost connection
            raise HaloError(f"halo_ca_path {verify} does not exist.", instance=instance)
        self.instance = instance
        self._verify = verify
        self._timeout = timeout
        self._budget = Budget(retry_seconds)
        self._adapter = requests.adapters.HTTPAdapter()
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, self._adapter)

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
    ) -> Answer:
        """Send one request, wait out what can be waited out, and return the answer whatever its status.

        :param path: how errors call the request (no query, no host)
        :param form: form-encoded body; such a request changes nothing in Halo
        :param body: JSON body
        :raises UnknownFate: a write was sent and no answer came
        :raises HaloError: nothing was sent, or a read got no answer
        """
        writes = method != "GET" and form is None
        self._adapter.max_retries = _patience(self._budget, repeatable=not writes)
        for again in range(1, LOST_CONNECTIONS + 2):
            try:
                response = self._session.request(
                    method,
                    url,
                    params=query,
                    data=form,
                    json=body,
                    headers={"Accept": "application/json"},
                    # an auth object, even one that adds nothing, keeps a ~/.netrc out of it
                    auth=_Bearer(token),
                    timeout=self._timeout,
                    verify=self._verify,
                    # following a redirect would turn a POST into a GET
                    allow_redirects=False,
                )
                break
            except (requests.RequestException, urllib3_errors.HTTPError, OSError, ValueError) as error:
                # urllib3 repeats a read that got no answer, not one that got half of it
                half = isinstance(error, requests.exceptions.ChunkedEncodingError)
                if writes or not half or again > LOST_CONNECTIONS or not self._budget.left():
                    raise self._no_answer(error, method, path, writes) from None
                self._budget.spend(2.0 ** (again - 1))
        return _answer(response)

    def _no_answer(self, error: Exception, method: str, path: str, writes: bool) -> HaloError:
        about: dict[str, t.Any] = {"instance": self.instance, "method": method, "path": path}
        cause = _cause(error)
        name = type(cause).__name__
        if isinstance(error, requests.exceptions.SSLError):
            reason = re.sub(r"\s+", " ", str(cause))[:200]
            return HaloError(
                f"TLS failed: {reason}.",
                hint="Check the certificate, or name the CA that signed it with halo_ca_path.",
                **about,
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return HaloError("the proxy refused the connection.", hint="Check the proxy variables.", **about)
        if name in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError") or isinstance(
            error, requests.ConnectTimeout
        ):
            reason = {"NameResolutionError": "the host name is unknown", "ConnectTimeoutError": "it timed out"}.get(
                name, _os_reason(cause)
            )
            return HaloError(
                f"no connection could be made: {reason}.", hint="Check halo_url and the network between.", **about
            )
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError)) and not (
            isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError))
        ):
            return HaloError("the address is not valid.", hint="Check halo_url and halo_auth_url.", **about)
        late = isinstance(error, requests.Timeout) or name == "ReadTimeoutError"
        message = (
            f"{method} {path} got no answer within {self._timeout:g} seconds."
            if late
            else f"the connection was lost during {method} {path}."
        )
        return UnknownFate(message, late=late, **about) if writes else HaloError(message, **about)


def _patience(budget: Budget, repeatable: bool) -> Patience:
    lost = LOST_CONNECTIONS if budget.left() else 0
    patience = Patience(
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
    patience.budget = budget
    return patience


class _Bearer(requests.auth.AuthBase if not REQUESTS_ERROR else object):  # type: ignore[misc]
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: t.Any) -> t.Any:
        if self._token:
            request.headers["Authorization"] = "Bearer " + self._token
        return request


def _cause(error: BaseException) -> BaseException:
    """The innermost error that says what happened, without the URL that requests puts around it."""
    reason = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    if isinstance(reason, urllib3_errors.MaxRetryError) and reason.reason is not None:
        return reason.reason
    return reason or error


def _os_reason(cause: BaseException) -> str:
    found = re.search(r"\[Errno -?\d+\] ([A-Za-z ]+)", str(cause))
    return found.group(1).lower() if found else "no route to it"


def _answer(response: t.Any) -> Answer:
    data, is_json = None, True
    if "charset" not in response.headers.get("Content-Type", "").lower():
        # for text requests would take Latin-1, in which a secret is not recognised
        response.encoding = "utf-8"
    if response.content.strip():
        try:
            data = response.json()
        except ValueError:
            is_json = False
    return Answer(
        status=response.status_code,
        data=data,
        text=_for_a_person(response, data),
        is_json=is_json,
        location=response.headers.get("Location", "").split("?")[0] if 300 <= response.status_code < 400 else "",
    )


def _for_a_person(response: t.Any, data: t.Any) -> str:
    """Halo's message: it answers with plain text, an exception, field errors or an HTML page."""
    if isinstance(data, dict):
        for key in ("error_description", "Message", "message", "error", "title"):
            if isinstance(data.get(key), str) and data[key]:
                return data[key]
        told = [
            f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in data.items()
            if isinstance(value, (str, list)) and value
        ]
        return "; ".join(told)
    if isinstance(data, str):
        return data
    if data is not None:
        return ""
    text = response.text or ""
    if "<" in text[:100]:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.S | re.I)
        return html.unescape(title.group(1)) + " (an HTML page)" if title else "an HTML page"
    return text
