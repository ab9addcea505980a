"""A listening TCP socket, or a message that says why there is none."""

from __future__ import annotations

import errno
import socket

from vajra.gateway.errors import StartupError


def listen(host: str, port: int, option: str) -> socket.socket:
    """Binds and listens. Raises StartupError, which names `option` as the way out, when the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"port {port} on {host} is in use; choose another with {option}") from None
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def url_host(host: str) -> str:
    """The host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
