"""How fast is it?  See __main__.py.  The tests run only its arithmetic, and one workload cut short."""
