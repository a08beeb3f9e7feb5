"""Choose the engine that generates answers: by option, environment or config.toml."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dslocal.errors import DslocalError, UsageError

from . import user_settings
from .option_groups import EngineOptions

if TYPE_CHECKING:
    from dslocal.api.engines.engine_model import EngineModel
    from dslocal.engine.remote import EngineAddress

THIS_MACHINE = "none"  # the value of --engine that goes before an engine of config.toml
ENGINE_HINT = f"--engine {THIS_MACHINE} loads a model on this machine"


@dataclass(frozen=True)
class EngineChoice:
    """An engine that the user chose.

    Attributes:
        address: Where it is.
        tokenizer: Where the model's vocabulary is; None looks for it.
    """

    address: EngineAddress
    tokenizer: str | None

    def find(self, model: str | None, family: str | None) -> EngineModel:
        """Return what it serves; see :func:`.find_engine_model`."""
        from dslocal.api.engines.engine_model import find_engine_model

        return find_engine_model(self.address, model=model, tokenizer=self.tokenizer, family=family)

    def say_destination(self) -> None:
        """Say on stderr where text goes: on a terminal, where it leaves this machine."""
        if sys.stderr.isatty() and not self.address.is_loopback:
            print(f"dslocal: text goes to {self.address.destination}", file=sys.stderr)

    def model_names(self) -> list[str]:
        """Return the names of all models that it serves; none where it does not say."""
        from dslocal.engine.remote import EngineConnection, served_names

        try:
            with EngineConnection(self.address) as connection:
                return served_names(connection)
        except DslocalError:
            return []


def chosen_engine(options: EngineOptions) -> EngineChoice | None:
    """Return the engine that was chosen; None where this process generates.

    Raises:
        UsageError: It is not a URL, or a tokenizer was named without an engine.
    """
    found = user_settings.configured("engine")
    if options.engine is not None:
        found = user_settings.ConfiguredValue(options.engine, "--engine")
    if found is None or str(found.value).strip().lower() in ("", THIS_MACHINE):
        if options.tokenizer is not None:
            raise UsageError("--tokenizer needs an engine", hint="add --engine URL")
        return None
    from dslocal.api.engines.engine_model import engine_at

    key_file = user_settings.configured("engine_key_file")
    address = engine_at(
        str(found.value),
        key_file=str(key_file.value) if key_file else None,
        source=found.place,
    )
    tokenizer = user_settings.configured("tokenizer")
    named = options.tokenizer or (str(tokenizer.value) if tokenizer else None)
    return EngineChoice(address, named)
