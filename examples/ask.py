"""Ask one question."""

import dslocal

with dslocal.load("nano") as model:
    answer = model.ask("What is 47 × 86?", seed=1)
    print(answer.text)
    print("final answer:", answer.final)
    print(f"{answer.usage.completion_tokens} tokens in {answer.timings.decode:.2f} s")
