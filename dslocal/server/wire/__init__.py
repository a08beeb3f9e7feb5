"""The wire formats: request schemas, responses, errors, and the OpenAPI document."""
