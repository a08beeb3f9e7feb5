"""What ``dslocal ask`` exchanges with a running server."""
