"""Runs every client of this folder, unchanged, against fresh servers.

python tests/server/clients/run.py --python INTERPRETER [--npm FOLDER --aider FOLDER]
    [--open-webui PROGRAM] [--engine]

SDKs talk to nano; the agents, if their folders are named, get answers of a script;
Open WebUI to both.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.server.agents import AGENTS, Programs, run_agent
from support.server.client_scripts import run_script, scripts, serving_nano
from support.server.open_webui import run_open_webui


def has_passed(name: str, run: Callable[[], str]) -> bool:
    """Print what came of a program, and return whether it did its task."""
    try:
        print(f"== {name}: passed\n{run()}")
    except AssertionError as e:
        print(f"== {name}: FAILED\n{e}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", required=True)
    parser.add_argument("--npm", type=Path, help="node_modules/.bin with the agents")
    parser.add_argument("--aider", type=Path, help="bin of an environment with aider")
    parser.add_argument("--open-webui", type=Path, help="the command of Open WebUI")
    parser.add_argument("--home", type=Path, help="a DSLOCAL_HOME where nano is converted already")
    parser.add_argument("--engine", action="store_true", help="an engine behind the server")
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
            programs = Programs(args.npm or folder, args.aider or folder)
            run = partial(run_agent, agent, programs, home, has_engine=args.engine)
            if not has_passed(agent.name, run):
                failed.append(agent.name)
        if args.open_webui:
            run = partial(run_open_webui, args.open_webui, home)
            failed += [] if has_passed("Open WebUI", run) else ["Open WebUI"]
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
