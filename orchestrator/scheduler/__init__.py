"""The scheduler: loads DAGs, and sees to it that nothing that died or is due is forgotten."""
