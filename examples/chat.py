"""Hold a conversation, and take a question back."""

import dslocal

with dslocal.load("nano") as model:
    chat = model.chat()
    print(chat.ask("What is the capital of Peru?", seed=1).text)
    print(chat.ask("And of Japan?", seed=1).text)
    print("taken back:", chat.undo())
    print(len(chat.messages), "messages are left")
