"""Executions of the state machines: list, history, timeline."""
