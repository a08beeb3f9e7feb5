"""``dslocal ask``: one question, one answer, made for shell scripts.

Stdout has the answer only; all else goes to stderr.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dslocal.cli.asking.ask_options import AskOptions
from dslocal.cli.option_groups import with_option_groups

if TYPE_CHECKING:
    from dslocal.cli.asking.serve_client import ServeClient
    from dslocal.engine import EngineContext


@with_option_groups
def ask(*, options: AskOptions) -> None:
    """Answer one question. Stdout contains only the answer."""
    from dslocal.cli import session_setup
    from dslocal.cli.asking.dry_run import print_dry_run
    from dslocal.cli.asking.prepared_question import prepare_question, reload_file
    from dslocal.cli.asking.print_answers import print_answers
    from dslocal.cli.asking.question_run import QuestionRun
    from dslocal.cli.asking.serve_client import ServerSearch

    search = ServerSearch()
    known = search.known_file if options.allows_server else None
    prepared = prepare_question(options, known)
    if options.dry_run:
        print_dry_run(prepared, options)
        return
    prepared.print_advice()

    def answer(context: EngineContext | ServeClient, load_s: float = 0.0) -> None:
        run = QuestionRun(context, prepared, load_s, shows_reasoning(options))
        print_answers(run, options.output)

    if search.found:
        if search.try_answering(prepared, answer):
            return
        prepared = reload_file(prepared, options)
    began = time.perf_counter()
    with session_setup.open_context(prepared.file, prepared.chosen) as context:
        answer(context, time.perf_counter() - began)


def shows_reasoning(options: AskOptions) -> bool:
    """Return whether reasoning goes to stderr: as the option says, else on a terminal."""
    if options.show_thinking is not None:
        return options.show_thinking
    return sys.stderr.isatty() and not options.output.vote
