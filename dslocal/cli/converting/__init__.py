"""The options of ``dslocal convert`` and ``dslocal quantize``, and the display of their results."""
