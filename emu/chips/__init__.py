"""Parts by number: a file is a chip, which knows neither its place nor its neighbours, and says what it does not model."""
