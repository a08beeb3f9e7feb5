"""Ask llama.cpp itself how much memory a model takes, which is decisive for this machine.

The planner's closed forms (:mod:`dslocal.plan.memory`) are for the many ways that a search tries,
and for machines that are not here.
"""
