"""A request over loopback counts as secure transport.

Buckets with a TLS-only policy (`aws:SecureTransport` false: deny) would refuse every call here, the CDK's own bootstrap
bucket included. Nothing on loopback can be listened to from outside, which is what such policies are for.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from local.patches.patch import module, wrap


def fill() -> None:
    """Tell the policy evaluator so."""

    def around(pin: Callable[..., Any]) -> Callable[..., Any]:
        def pinned(source: str, secure: bool) -> None:  # noqa: FBT001 - MiniStack's signature
            pin(source, secure or ip_address(source).is_loopback)

        return pinned

    wrap(module("app"), "pin_request_origin", around)
