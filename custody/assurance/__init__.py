"""Proving that nothing is lost and nothing was changed: reconcile and verify."""
