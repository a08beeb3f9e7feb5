"""Runs every client of this folder, unchanged, against fresh servers.

python tests/server/clients/run.py --python INTERPRETER [--npm FOLDER --aider FOLDER] [--engine]

SDKs talk to nano; the agents, if their folders are named, to a server whose answers are scripted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.server.agents import AGENTS, Programs, run_agent
from support.server.client_scripts import run_script, scripts, serving_nano


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", required=True)
    parser.add_argument("--npm", type=Path, help="node_modules/.bin with the agents")
    parser.add_argument("--aider", type=Path, help="bin of an environment with aider")
    parser.add_argument("--home", type=Path, help="a DSLOCAL_HOME where nano is converted already")
    parser.add_argument("--engine", action="store_true", help="a llama-server behind the server")
    args = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as fresh:
        home = args.home or Path(fresh)
        with serving_nano(home, has_engine=args.engine) as server:
            for script in scripts():
                done = run_script(script, args.python, server)
                print(f"== {script.name}: {'FAILED' if done.returncode else 'passed'}")
                print(done.stdout, done.stderr[-3000:] if done.returncode else "", sep="")
                failed += [script.name] if done.returncode else []
        os.environ["DSLOCAL_HOME"] = str(home)
        for agent in AGENTS:
            folder = args.aider if agent.name == "aider" else args.npm
            if folder is None:
                print(f"== {agent.name}: not run")
                continue
            try:
                log = run_agent(agent, Programs(args.npm or folder, args.aider or folder), home)[1]
                print(f"== {agent.name}: passed\n{log}")
            except AssertionError as e:
                print(f"== {agent.name}: FAILED\n{e}")
                failed.append(agent.name)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
