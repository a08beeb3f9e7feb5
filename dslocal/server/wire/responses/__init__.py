"""OpenAI's Responses API, as https://platform.openai.com/docs/api-reference/responses has it."""
