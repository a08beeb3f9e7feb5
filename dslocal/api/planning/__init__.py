"""Plan how much memory a model takes on a machine, and how fast it is, before a download.

Combines names (``catalog``), the headers that a conversion would write (``convert``) and the search
for settings (``plan``). It reads only headers.
"""

from .model_plan import ModelPlan, plan

__all__ = ["ModelPlan", "plan"]
