"""Every error that dslocal raises on purpose, each with a message, a hint and an exit code.

::

    DslocalError                        1  anything that went wrong and was understood
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
:class:`Terminated` is not an error but the end that a signal asks for. Two exit codes
belong to no error: :attr:`ExitCode.NO_MAJORITY` is a result, and the codes above 128 are a shell's
for a process that a signal ended.
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
    """All codes that a dslocal process ends with."""

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
        hint: One sentence that says what would help, or an empty string.
        exit_code: What the process exits with when nothing handles the error.
    """

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DslocalError):
    """An argument, a setting or a request that makes no sense."""

    exit_code = ExitCode.USAGE


class NotFoundError(DslocalError):
    """No such model, file, repository or revision."""

    exit_code = ExitCode.NOT_FOUND


class DoesNotFitError(DslocalError):
    """The machine has too little memory for the model, whatever is reduced."""

    exit_code = ExitCode.DOES_NOT_FIT


class ContextOverflowError(DslocalError):
    """The prompt leaves no room for an answer in the model's context."""

    exit_code = ExitCode.CONTEXT_OVERFLOW


class SchemaError(DslocalError):
    """The answer does not match the JSON schema, grammar or pattern that it was to match."""

    exit_code = ExitCode.SCHEMA


class CheckpointError(DslocalError):
    """A safetensors checkpoint that is damaged or hostile.

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
    """A checkpoint or GGUF file of a family that dslocal does not know."""


class ConversionError(DslocalError):
    """Writing a GGUF file failed."""


class DownloadError(DslocalError):
    """A hub that cannot be reached, refuses, or sends something else than it promised."""


class UnreachableError(DownloadError):
    """A hub that cannot be reached from here, so that nothing is known of what it has."""


class GgufError(DslocalError):
    """A GGUF file that is damaged or hostile."""


class WorkerError(DslocalError):
    """A machine that was to hold a part of a model cannot be reached, or is not what it should be.

    Attributes:
        endpoint: The machine, as ``HOST:PORT``. The message names it already.
        missing: It and the others that cannot be used either; the message names them all.
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
    """llama.cpp did not get the memory that was planned for it."""

    exit_code = ExitCode.DOES_NOT_FIT


class RemoteEngineError(EngineError):
    """An engine behind a URL refused, failed, or cannot be reached."""


class EngineMissingError(EngineError):
    """llama-cpp-python is absent, or not of the version that dslocal uses."""


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end: SIGTERM, SIGHUP or SIGQUIT.

    What catches KeyboardInterrupt to keep what an interrupted command made keeps it here too, and
    lets this pass.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
