"""Run DeepSeek models on your own machine.

::

    import dslocal

    with dslocal.load("nano") as model:
        print(model.ask("What is 47 × 86?", seed=1).text)

    dslocal.convert("DeepSeek-R1/", "r1.gguf", quant="Q4_K_M")
    dslocal.plan("deepseek-r1", ram="128GiB").tokens_per_second

Everything in ``__all__`` is public. Each name is imported at its first use, so that ``import
dslocal`` is fast. ``dslocal.convert`` and ``dslocal.plan`` are functions. They are also packages,
whose modules ``dslocal.convert.…`` and ``dslocal.plan.…`` do the work.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "dslocal.api.answer": ("Answer", "AnswerStream", "Done", "Usage"),
    "dslocal.api.conversation": ("Chat",),
    "dslocal.api.conversion": ("convert",),
    "dslocal.api.loading": ("load",),
    "dslocal.api.model": ("Model",),
    "dslocal.api.planning": ("ModelPlan", "plan"),
    "dslocal.api.quality": ("Quality", "quality"),
    "dslocal.api.quantization.quantize": ("quantize",),
    "dslocal.errors": (
        "CheckpointError",
        "ContextOverflowError",
        "ConversionError",
        "DoesNotFitError",
        "DownloadError",
        "DslocalError",
        "EngineError",
        "EngineMissingError",
        "GgufError",
        "NotFoundError",
        "OutOfMemoryError",
        "RemoteEngineError",
        "SchemaError",
        "UnreachableError",
        "UnsupportedModelError",
        "UsageError",
        "WorkerError",
    ),
    "dslocal.output.reasoning": ("Reasoning", "Text"),
    "dslocal.prompts.messages": ("Message", "Tool", "ToolCall"),
    "dslocal.types": ("Timings",),
}
_SOURCES = {name: module for module, names in _MODULES.items() for name in names}
_CALLABLE_PACKAGES = ("convert", "plan")

__all__ = [
    "Answer",
    "AnswerStream",
    "Chat",
    "CheckpointError",
    "ContextOverflowError",
    "ConversionError",
    "DoesNotFitError",
    "Done",
    "DownloadError",
    "DslocalError",
    "EngineError",
    "EngineMissingError",
    "GgufError",
    "Message",
    "Model",
    "ModelPlan",
    "NotFoundError",
    "OutOfMemoryError",
    "Quality",
    "Reasoning",
    "RemoteEngineError",
    "SchemaError",
    "Text",
    "Timings",
    "Tool",
    "ToolCall",
    "UnreachableError",
    "UnsupportedModelError",
    "Usage",
    "UsageError",
    "WorkerError",
    "__version__",
    "convert",
    "load",
    "plan",
    "quality",
    "quantize",
]

if TYPE_CHECKING:
    from dslocal.api.answer import Answer, AnswerStream, Done, Usage
    from dslocal.api.conversation import Chat
    from dslocal.api.conversion import convert
    from dslocal.api.loading import load
    from dslocal.api.model import Model
    from dslocal.api.planning import ModelPlan, plan
    from dslocal.api.quality import Quality, quality
    from dslocal.api.quantization.quantize import quantize
    from dslocal.errors import (
        CheckpointError,
        ContextOverflowError,
        ConversionError,
        DoesNotFitError,
        DownloadError,
        DslocalError,
        EngineError,
        EngineMissingError,
        GgufError,
        NotFoundError,
        OutOfMemoryError,
        RemoteEngineError,
        SchemaError,
        UnreachableError,
        UnsupportedModelError,
        UsageError,
        WorkerError,
    )
    from dslocal.output.reasoning import Reasoning, Text
    from dslocal.prompts.messages import Message, Tool, ToolCall
    from dslocal.types import Timings


class _CallablePackage(ModuleType):
    """A package that can be called as the function with its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_SOURCES[name]), name)(*args, **kwargs)


class _Root(ModuleType):
    """This package, whose attributes an import of a package below it sets."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CALLABLE_PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> Any:
        if name in _CALLABLE_PACKAGES:
            return import_module(f"dslocal.{name}")
        if name in _SOURCES:
            return getattr(import_module(_SOURCES[name]), name)
        raise AttributeError(f"module 'dslocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
