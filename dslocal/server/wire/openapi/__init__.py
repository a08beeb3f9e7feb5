"""The OpenAPI document of all formats."""
