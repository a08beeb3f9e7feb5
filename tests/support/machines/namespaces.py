"""Network namespaces of Linux, joined by veth pairs: several machines on one. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


@contextlib.contextmanager
def network(count: int) -> Iterator[list[str]]:
    """Yield the names of a client's namespace and ``count`` workers', joined by veth pairs."""
    names = [f"dslocal{os.getpid()}n{number}" for number in range(count + 1)]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate(names[1:], 1):
            here, there = (f"c{number}", f"w{number}")
            ip("-n", names[0], "link", "add", here, "type", "veth", "peer", there, "netns", name)
            for namespace, link, host in ((names[0], here, 1), (name, there, 2)):
                ip("-n", namespace, "addr", "add", f"10.77.{number}.{host}/24", "dev", link)
                ip("-n", namespace, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
