"""Parts by number: one file is one chip, and knows neither its place nor its neighbours.  Each says what it does not model."""
