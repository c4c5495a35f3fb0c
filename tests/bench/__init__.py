"""How fast is it?  `python -m tests.bench`, see tests/bench/__main__.py.  Nothing here is run by the tests but its arithmetic."""
