"""Runs every client of this folder, unchanged, against a fresh server on nano.

python tests/server/clients/run.py --python INTERPRETER-WITH-THE-CLIENTS
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.server.serving import serving

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", required=True)
    parser.add_argument("--home", type=Path, help="a DSLOCAL_HOME where nano is converted already")
    args = parser.parse_args()
    failed = []
    with (
        tempfile.TemporaryDirectory() as fresh,
        serving(args.home or Path(fresh), "--no-math", "--ctx", "2048") as server,
    ):
        for script in [*sorted(HERE.glob("with_*.py")), HERE / "with_curl.sh"]:
            command = [
                "bash" if script.suffix == ".sh" else args.python,
                str(script),
                f"http://127.0.0.1:{server.port}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            print(f"== {script.name}: {'FAILED' if done.returncode else 'passed'}\n{done.stdout}")
            print(done.stderr[-3000:] if done.returncode else "", end="")
            failed += [script.name] if done.returncode else []
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
