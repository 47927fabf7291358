"""Runs attempts: claims them, builds their orders, stands between engine and store."""
