"""Shell completion: what a shell is offered (``values``), and what makes it ask (``scripts``)."""
