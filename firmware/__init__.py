"""Our own firmware, kernels and floppies: assembly, and what assembles it.  Installed as emu.firmware."""
