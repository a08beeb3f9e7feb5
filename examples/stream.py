"""Print an answer as it comes, its reasoning apart."""

import dslocal

with dslocal.load("nano") as model:
    for event in model.stream("What is 12 × 12?", seed=1):
        match event:
            case dslocal.Reasoning(text):
                print(text, end="", flush=True)
            case dslocal.Text(text):
                print(text, end="", flush=True)
            case dslocal.Done(answer):
                print(f"\n[{answer.finish_reason}, {answer.usage.reasoning_tokens} of reasoning]")
