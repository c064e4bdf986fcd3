"""Servers that a run starts on this machine, and the addresses that never leave it."""

import http.client

HOST = "127.0.0.1"
"""The address that our servers listen on."""
NAMES = ("localhost", HOST, "::1")


def answers(port: int, path: str) -> bool:
    """Whether the server at `port` of this machine answers a GET of `path` with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
