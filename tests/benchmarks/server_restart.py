"""How soon a server that was killed in the midst of streams serves again, on nano.

    python tests/benchmarks/server_restart.py [--times 10] [--home DSLOCAL_HOME]

Each time three streams start, the working process gets SIGKILL, and a new server starts: seconds
until its first whole answer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
from support.server.serving import Serving

MOST_S = 2.0


def read(server: Serving, started: threading.Event) -> None:
    body = {"messages": [{"role": "user", "content": "What is 347 × 892?"}], "stream": True}
    try:
        with httpx2.stream(
            "POST", f"http://127.0.0.1:{server.port}/v1/chat/completions", json=body, timeout=30
        ) as answer:
            for _ in answer.iter_lines():
                started.set()
    except httpx2.HTTPError:
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--home", type=Path)
    args = parser.parse_args()
    seconds = []
    with tempfile.TemporaryDirectory() as fresh:
        home = args.home or Path(fresh)
        server = Serving(home, "--quiet")
        for _ in range(args.times):
            started = [threading.Event() for _ in range(3)]
            threads = [threading.Thread(target=read, args=(server, event)) for event in started]
            for thread in threads:
                thread.start()
            for event in started:
                event.wait(30)
            server.kill()
            for thread in threads:
                thread.join()
            server.close()
            began = time.perf_counter()
            server = Serving(home, "--quiet")
            server.chat("capital of peru")
            seconds.append(time.perf_counter() - began)
        server.close()
    print(f"{args.times} times: median {median(seconds):.2f} s, longest {max(seconds):.2f} s")
    sys.exit(max(seconds) > MOST_S)


if __name__ == "__main__":
    main()
