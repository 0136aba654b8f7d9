"""What the app demands of every request and adds to every reply, so that only the page itself talks to it.

A site elsewhere could point its own name at this machine (DNS rebinding) and would then be of the same origin as the
page. That takes a name: an address cannot be pointed elsewhere. So a `Host` that is an address or `localhost` is
answered, and a name only if the operator allows it. (Starlette's TrustedHostMiddleware cannot say "any address".)
"""

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_HEADERS = {
    # Nothing from elsewhere, nothing inline: the page could not send a drawing away if it wanted to.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A newer version of the app must not meet the modules of an older one.
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware that checks `Host` and sets headers.

    Args:
        app: what answers the requests that pass.
        names: names that `Host` may be, besides addresses and `localhost`.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http" and not self._may_ask(Headers(scope=scope).get("host", "")):
            refusal = PlainTextResponse("unknown Host; open the page by its address, or allow the name", 421)
            await refusal(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _may_ask(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return name.lower() in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        if name.startswith("[") and name.endswith("]"):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
