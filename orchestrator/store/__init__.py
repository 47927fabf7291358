"""The metadata database and the artifact folder: what happened, what is owed, and what comes next.

`REVISIONS` are the migrations in their order, known without importing Alembic; a test keeps them equal
to the scripts.
"""

from __future__ import annotations

REVISIONS = ("0001",)
HEAD = REVISIONS[-1]
