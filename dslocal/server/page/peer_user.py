"""Find the user of this machine who sent a request, in Linux's table of TCP connections.

A server that listens to its own machine can be reached by every user of it. The table names the
user of each end of a connection (proc(5), ``/proc/net/tcp``). On systems without it, the user is
unknown.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
Address = tuple[str, int]


def peer_uid(client: Address, server: Address) -> int | None:
    """Return the user id at the client's end of a connection; None where it is not known.

    Args:
        client: The address and port of the client's end.
        server: The address and port of the server's end.
    """
    for table in TABLES:
        try:
            with table.open(encoding="ascii") as lines:
                found = find_uid(lines, client, server)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def find_uid(lines: Iterable[str], client: Address, server: Address) -> int | None:
    """Return the user of the connection from ``client`` to ``server`` in a table's lines."""
    wanted = {(one, other) for one in _spellings(client) for other in _spellings(server)}
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and (fields[1], fields[2]) in wanted:
            return int(fields[7])
    return None


def _spellings(address: Address) -> Iterator[str]:
    """Yield how the tables write an address; one of IPv4 may be in the table of IPv6."""
    host, port = address
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return
    yield f"{_hexadecimal(ip.packed)}:{port:04X}"
    if ip.version == 4:
        mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)
        yield f"{_hexadecimal(mapped.packed)}:{port:04X}"


def _hexadecimal(packed: bytes) -> str:
    """Return an address as the kernel prints it: words of four bytes in the machine's order."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
