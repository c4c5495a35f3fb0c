"""Answers in words: why a guest died, what a fault was, which devices a run has spent its time with."""
