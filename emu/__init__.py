"""The PC that you can see through: an x86 PC in Python."""
