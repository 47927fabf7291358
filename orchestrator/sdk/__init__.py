"""The contracts between FustGo and its operators; all that a plugin author imports.

An operator is a frozen model whose fields are its configuration (`operator`, `input`, `processor`,
`output`); the runtime object that its `open` builds holds connections and state. `context` is what
the engine hands over, `registry` finds operators by type, `conformance` is the suite each must pass.
"""
