"""The terminal: what people type and what they see. It knows chats and their events, nothing of the
engine's inside.
"""
