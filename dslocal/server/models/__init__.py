"""The models of one server: which of them a request means, and which of them are loaded."""
