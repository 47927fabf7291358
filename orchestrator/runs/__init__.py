"""Pure decisions about runs: no clock, no thread, no database. State and event in, decision out."""
