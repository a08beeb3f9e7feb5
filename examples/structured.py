"""Get JSON that follows a schema. The reasoning before it stays free."""

import dslocal

SCHEMA = {
    "type": "object",
    "properties": {"result": {"type": "integer"}},
    "required": ["result"],
    "additionalProperties": False,
}

with dslocal.load("nano") as model:
    answer = model.ask("What is 47 × 86?", schema=SCHEMA, seed=1)
    print(answer.parsed["result"] + 1)  # 4043: the result is a number, not text
