"""Save a conversation in a file, and continue it from there."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dslocal

with TemporaryDirectory() as folder, dslocal.load("nano") as model:
    file = Path(folder) / "notes.json"
    chat = model.chat()
    chat.ask("What is the capital of Peru?", seed=1)
    chat.save(file)

    again = model.chat(resume=file)
    for message in again.messages:
        print(f"{message.role}: {message.content}")
    print(again.ask("And of Japan?", seed=1).text)
