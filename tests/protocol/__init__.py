"""An executable model of the checkpoint protocol (docs/protocol.md), and the tests that explore it.

`store`, `verbs`, `files`, `sql` and `attempt` are the model: everything durable is plain data, an attempt
is a generator that yields the name of every step, so that a test can stop, kill or interleave it
there. `world` drives it, `invariants` says what must hold, `bugs` breaks one rule at a time.
"""
