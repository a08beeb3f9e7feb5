"""The slash commands of the chat, and the table that lists them."""
