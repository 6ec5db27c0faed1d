"""Feast's public surface beside this package's: what Feast has, what differs here, and why."""
