# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AWS Secrets Manager: a secret for each tenant and binding.

AWSCURRENT is at the entry, whole, and moves to the next one from the one that was read, or not at all: that is the
check-and-set. AWSPENDING is where an entry is drafted, and stays at the current one while a client secret is pending.
AWSPREVIOUS follows by itself: the entry before.
"""

from __future__ import annotations

import contextlib
import json
import typing as t
import uuid

from ...module_utils.errors import HaloError, one_line
from . import Place, options_of
from ._claim import NoAnswer, SharedStore, Value, Version, stale

OPTIONS: dict[str, dict[str, t.Any]] = {
    "region": {"type": "str"},
    "endpoint_url": {"type": "str"},
    "prefix": {"type": "str", "default": "halo/"},
    "kms_key_id": {"type": "str"},
}
CURRENT, DRAFT = "AWSCURRENT", "AWSPENDING"


class Store(SharedStore):
    """Secrets Manager, with the credentials that boto3 finds.

    :raises HaloError: boto3 is not there; an option is wrong; there is no region
    """

    name = "aws_secrets_manager"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._options = options_of(place, OPTIONS)
        with self._failing(None):
            boto3 = self._library("boto3")
            self._errors = self._library("botocore.exceptions")
            self._prefix = f"{self._options['prefix']}{self._tenant}/"
            with self._asking():
                # a session of its own: the shared one keeps the credentials of a task that had others
                self._client = boto3.session.Session().client(
                    "secretsmanager",
                    region_name=self._options["region"] or None,
                    endpoint_url=self._options["endpoint_url"] or None,
                    config=self._library("botocore.config").Config(connect_timeout=10, read_timeout=15),
                )

    @contextlib.contextmanager
    def _asking(self) -> t.Iterator[None]:
        """What goes wrong between here and AWS, in words without a credential."""
        errors = self._errors
        try:
            yield
        except errors.ClientError as error:
            code, said = (str(error.response.get("Error", {}).get(key)) for key in ("Code", "Message"))
            # a signature that does not fit is answered with all that was signed, from the second line on
            what = f"AWS Secrets Manager says {one_line(code)}: {one_line(said.partition(chr(10))[0])}"
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500:
                raise NoAnswer(what) from None
            hint = next((hint for word, hint in HINTS.items() if word in code + said), None)
            raise HaloError(what, hint=hint) from None
        except (errors.HTTPClientError, errors.ConnectionError) as error:
            raise NoAnswer(f"no answer from AWS Secrets Manager: {one_line(str(error))}.") from None
        except (errors.BotoCoreError, ValueError) as error:
            raise HaloError(f"boto3 says: {one_line(str(error))}.", hint=HINTS.get(type(error).__name__)) from None
        except (LookupError, TypeError, AttributeError, RecursionError):
            # boto3 does not look whether it is an object that it reads
            raise NoAnswer("something answers, and not as AWS Secrets Manager does.", hint=_ENDPOINT) from None

    def _where(self, key: str) -> str:
        return f"the secret {self._prefix}{key}"

    def _call(self, method: str, key: str, **more: t.Any) -> t.Any:
        answer = getattr(self._client, method)(SecretId=self._prefix + key, **more)
        self._hear(answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date"))
        return answer

    def _get(self, key: str) -> tuple[t.Any, Version]:
        with self._asking():
            try:
                found = self._call("get_secret_value", key, VersionStage=CURRENT)
            except self._client.exceptions.ResourceNotFoundException:
                return None, None
        version = found.get("VersionId")
        if not version:
            # without one, what is there would be taken for nothing
            raise NoAnswer(f"{self._where(key)} is there, and AWS does not say in which version.")
        try:
            return json.loads(found["SecretString"]), version
        except (LookupError, TypeError, ValueError, RecursionError):
            # not None: there is something
            return "", version

    def _put(self, key: str, value: Value, version: Version) -> Version:
        new, text = str(uuid.uuid4()), json.dumps(value)
        if version is None:
            return self._create(key, new, text)
        with self._asking():
            try:
                self._call("put_secret_value", key, SecretString=text, ClientRequestToken=new, VersionStages=[DRAFT])
                stages = {"VersionStage": CURRENT, "RemoveFromVersionId": str(version), "MoveToVersionId": new}
                self._call("update_secret_version_stage", key, **stages)
            except (self._errors.ClientError, self._errors.ParamValidationError):
                now = self._get(key)[1]
                # a request that is sent again after its answer was lost is refused too
                if now not in (version, new):
                    raise stale() from None
                if now == version:
                    raise
            if "pending" in value and not value["pending"]:
                # for people who look: nothing depends on it
                with contextlib.suppress(self._errors.ClientError, self._errors.BotoCoreError):
                    self._call("update_secret_version_stage", key, VersionStage=DRAFT, RemoveFromVersionId=new)
        return new

    def _create(self, key: str, new: str, text: str) -> Version:
        kms = {"KmsKeyId": self._options["kms_key_id"]} if self._options["kms_key_id"] else {}
        with self._asking():
            try:
                self._client.create_secret(Name=self._prefix + key, SecretString=text, ClientRequestToken=new, **kms)
            except self._client.exceptions.ResourceExistsException:
                if self._get(key)[1] is not None:
                    raise stale() from None
                raise HaloError(
                    f"{self._where(key)} is there and has no value.", hint="Delete it: this store makes it."
                ) from None
        return new

    def _list(self) -> list[str]:
        filters = [{"Key": "name", "Values": [self._prefix]}]
        with self._asking():
            pages = self._client.get_paginator("list_secrets").paginate(Filters=filters)
            names = [str(secret.get("Name")) for page in pages for secret in page.get("SecretList") or ()]
        return [name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix)]


_CREDENTIALS = "See that boto3 finds the right credentials (environment, profile, role), and that the clock is right."
_ENDPOINT = "See that the option endpoint_url, or AWS_ENDPOINT_URL in the environment, is right."
HINTS = {
    "AccessDenied": "The credentials need secretsmanager:CreateSecret, GetSecretValue, PutSecretValue, "
    "UpdateSecretVersionStage and ListSecrets, and the use of the KMS key.",
    "Expired": _CREDENTIALS,
    "Signature": _CREDENTIALS,
    "UnrecognizedClient": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "NoCredentialsError": _CREDENTIALS,
    "NoRegionError": "Set region in halo_integration_store_options, or AWS_REGION in the environment.",
    "marked": "Restore it with: aws secretsmanager restore-secret --secret-id NAME",
    "LimitExceeded": "AWS keeps every version for a day, about a hundred of one secret: run less often.",
}
