"""Parsing: what each DAG file of a frozen tree holds, without running any of it in the scheduler.

parsers    the scheduler's side: so many files at once, each with its time
zygote     the process that forks a reader for each file
reading    what a reader does
"""
