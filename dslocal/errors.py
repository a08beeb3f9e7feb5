"""Every error that dslocal raises on purpose, each with a message, a hint and an exit code.

::

    DslocalError                  1  anything that went wrong and was understood
    ├── UsageError                2  an argument that cannot be meant
    ├── NotFoundError             3  no such model or file
    ├── DoesNotFitError           4  the machine is too small for what was asked
    ├── ContextOverflowError      5  the prompt does not leave room for an answer
    ├── SchemaError               7  an answer that is not as its schema says
    ├── CheckpointError           1  a safetensors checkpoint that is damaged or hostile
    │   └── UnsupportedModelError 1  a checkpoint or GGUF of a family that dslocal does not know
    ├── ConversionError           1  writing the GGUF failed
    ├── DownloadError             1  a hub that cannot be reached, will not give, or gives what is
    wrong ├── GgufError                 1  a GGUF file that is damaged or hostile └── EngineError
    1  llama.cpp refused or failed
        ├── OutOfMemoryError      4  llama.cpp did not get the memory that was planned for it
        └── EngineMissingError    1  llama-cpp-python is absent or not of the line that dslocal uses

Errors are raised where the fact is known, with the name of the file and tensor in the message, and
printed once, as one line and a hint, by ``dslocal.cli``.
"""

from __future__ import annotations


class DslocalError(Exception):
    """The base of all errors. ``hint`` says what would help, in one sentence; ``exit_code`` is the
    process's.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DslocalError):
    exit_code = 2


class NotFoundError(DslocalError):
    exit_code = 3


class DoesNotFitError(DslocalError):
    exit_code = 4


class ContextOverflowError(DslocalError):
    exit_code = 5


class SchemaError(DslocalError):
    exit_code = 7


class CheckpointError(DslocalError):
    """``file`` and ``tensor`` name the culprit where there is one; they are part of the message
    already.
    """

    def __init__(self, message: str, *, file: str = "", tensor: str = "", hint: str = "") -> None:
        where = ": ".join(part for part in (file, tensor) if part)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.tensor = tensor


class UnsupportedModelError(CheckpointError):
    pass


class ConversionError(DslocalError):
    pass


class DownloadError(DslocalError):
    pass


class GgufError(DslocalError):
    pass


class EngineError(DslocalError):
    pass


class OutOfMemoryError(EngineError):
    exit_code = 4


class EngineMissingError(EngineError):
    pass
