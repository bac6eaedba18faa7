"""What a mesh of a size takes: shards, pods, memory, disk, GPU hours and money, from measured constants."""

from earmark.plan.constants import Constants, ConstantsInvalid
from earmark.plan.model import Demand, Part, Plan, plan

__all__ = ["Constants", "ConstantsInvalid", "Demand", "Part", "Plan", "plan"]
