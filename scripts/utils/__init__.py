"""Helpers that are not part of the pipeline's vocabulary."""
