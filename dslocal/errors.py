"""Every error that dslocal raises on purpose, each with a message, a hint and an exit code.

::

    DslocalError                        1  any error with a known cause
    ├── UsageError                      2  an argument or a setting that makes no sense
    ├── NotFoundError                   3  no such model or file
    ├── DoesNotFitError                 4  the machine is too small for what was asked
    ├── ContextOverflowError            5  the prompt leaves no room for an answer
    ├── SchemaError                     7  an answer that does not match its schema
    ├── CheckpointError                 1  a damaged or hostile safetensors checkpoint
    │   └── UnsupportedModelError       1  a model family that dslocal does not know
    ├── ConversionError                 1  writing the GGUF file failed
    ├── DownloadError                   1  a hub refuses, or sends wrong data
    │   └── UnreachableError            1  a hub cannot be reached: no network, a proxy
    ├── GgufError                       1  a damaged or hostile GGUF file
    ├── WorkerError                     1  a machine that takes part in a model is not there
    └── EngineError                     1  llama.cpp refused or failed
        ├── RemoteEngineError           1  an engine behind a URL refused, failed or was lost
        ├── OutOfMemoryError            4  llama.cpp did not get the memory that was planned for it
        └── EngineMissingError          1  llama-cpp-python is absent or of an unsupported version

An error is raised where the fact is known, with the name of the file and tensor in its message.
``dslocal.cli`` prints it once, as one line with its hint, and exits with its code.
:class:`Terminated` is not an error: it ends the process after a signal. Some exit codes belong to
no error: :attr:`ExitCode.NO_MAJORITY` is a result, and the codes above 128 are those that a shell
uses for a process that a signal ended.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "CheckpointError",
    "ContextOverflowError",
    "ConversionError",
    "DoesNotFitError",
    "DownloadError",
    "DslocalError",
    "EngineError",
    "EngineMissingError",
    "ExitCode",
    "GgufError",
    "NotFoundError",
    "OutOfMemoryError",
    "RemoteEngineError",
    "SchemaError",
    "Terminated",
    "UnreachableError",
    "UnsupportedModelError",
    "UsageError",
    "WorkerError",
]


class ExitCode(IntEnum):
    """All exit codes of dslocal."""

    SUCCESS = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    DOES_NOT_FIT = 4
    CONTEXT_OVERFLOW = 5  # also of an answer that was cut or is empty
    NO_MAJORITY = 6  # of a vote
    SCHEMA = 7
    INTERRUPTED = 130  # 128 + SIGINT
    BROKEN_PIPE = 141  # 128 + SIGPIPE


class DslocalError(Exception):
    """The base of all errors.

    Attributes:
        hint: What to do, in one sentence, or an empty string.
        exit_code: The exit code of a process that does not handle the error.
    """

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DslocalError):
    """An argument, a setting or a request is not valid."""

    exit_code = ExitCode.USAGE


class NotFoundError(DslocalError):
    """A model, file, repository or revision does not exist."""

    exit_code = ExitCode.NOT_FOUND


class DoesNotFitError(DslocalError):
    """The machine has too little memory for the model, even after all reduction steps."""

    exit_code = ExitCode.DOES_NOT_FIT


class ContextOverflowError(DslocalError):
    """The prompt leaves no room for an answer in the model's context."""

    exit_code = ExitCode.CONTEXT_OVERFLOW


class SchemaError(DslocalError):
    """The answer does not satisfy its JSON Schema, grammar or pattern."""

    exit_code = ExitCode.SCHEMA


class CheckpointError(DslocalError):
    """A safetensors checkpoint is damaged or hostile.

    Attributes:
        file: The file at fault, where there is one. The message names it already.
        tensor: The tensor at fault, where there is one. The message names it already.
    """

    def __init__(self, message: str, *, file: str = "", tensor: str = "", hint: str = "") -> None:
        where = ": ".join(part for part in (file, tensor) if part)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.tensor = tensor


class UnsupportedModelError(CheckpointError):
    """dslocal does not know the family of a checkpoint or GGUF file."""


class ConversionError(DslocalError):
    """A GGUF file could not be written."""


class DownloadError(DslocalError):
    """A hub cannot be reached, refuses a request, or sends wrong data."""


class UnreachableError(DownloadError):
    """A hub cannot be reached, so that nothing is known about its files."""


class GgufError(DslocalError):
    """A GGUF file is damaged or hostile."""


class WorkerError(DslocalError):
    """A machine that should hold a part of a model cannot be reached, or is not a suitable worker.

    Attributes:
        endpoint: The machine, as ``HOST:PORT``. The message names it already.
        missing: This machine and the others that cannot be used; the message names them all.
        reason: The message without names.
    """

    def __init__(
        self, reason: str, *, endpoint: str, hint: str = "", others: tuple[str, ...] = ()
    ) -> None:
        more = f"; {' and '.join(others)} cannot be used either" if others else ""
        super().__init__(f"{endpoint}: {reason}{more}", hint=hint)
        self.endpoint = endpoint
        self.missing = (endpoint, *others)
        self.reason = reason


class EngineError(DslocalError):
    """llama.cpp refused or failed."""


class OutOfMemoryError(EngineError):
    """llama.cpp could not allocate the memory that was planned."""

    exit_code = ExitCode.DOES_NOT_FIT


class RemoteEngineError(EngineError):
    """An engine behind a URL refused, failed, or cannot be reached."""


class EngineMissingError(EngineError):
    """llama-cpp-python is missing, or has a version that dslocal does not support."""


class Terminated(KeyboardInterrupt):
    """The process must end because of a signal: SIGTERM, SIGHUP or SIGQUIT.

    Code that catches KeyboardInterrupt to save the results of an interrupted command also saves
    them for this exception, and raises it again.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
