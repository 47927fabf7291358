"""Runs one attempt of one stage: moves batches, draws barriers, seals, applies, restores.

`pipeline.run_attempt` is the way in. It speaks to the store only through the port that
`coordinator.StagePort` declares, so that the same engine runs in the command's own thread or in a child.
"""
