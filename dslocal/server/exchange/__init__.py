"""The types that all formats share: a task in, events out.

A format of :mod:`dslocal.server.wire` is a pair of pure functions: one reads a request into a task,
the other writes events as a response. What lies between them knows no format.
"""
