"""What a model takes on a machine, and how fast it will be, before anything is downloaded.

Joins names (``catalog``), headers that a conversion would give (``convert``) and the search for
settings (``plan``). Reads headers only.
"""

from .model_plan import ModelPlan, plan

__all__ = ["ModelPlan", "plan"]
