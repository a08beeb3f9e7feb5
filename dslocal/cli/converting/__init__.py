"""What ``dslocal convert`` and ``dslocal quantize`` share: options, and how results are shown."""
