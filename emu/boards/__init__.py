"""Parts and wires: where chips, host and processor meet."""
