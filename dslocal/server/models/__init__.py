"""The models of one server: finding the one of a request, and loading and unloading."""
