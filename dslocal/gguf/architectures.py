"""Architectures that llama.cpp gained after the version that llama-cpp-python ships."""

from dslocal.errors import UnsupportedModelError

NOT_YET = {"deepseek41": "V4.1"}
INSTEAD = "deepseek-v4-flash-0731 is the newest model before it"


def require_known(architecture: str, file: str = "") -> None:
    """Refuse an architecture that is known to be too new for the engine.

    Args:
        architecture: The name that llama.cpp gives it.
        file: The file that it was found in, for the message.

    Raises:
        UnsupportedModelError: It is; the hint says what to run instead.
    """
    if architecture in NOT_YET:
        raise UnsupportedModelError(
            f"{NOT_YET[architecture]} needs llama.cpp's {architecture}, which llama-cpp-python"
            " does not have yet",
            file=file,
            hint=INSTEAD,
        )
