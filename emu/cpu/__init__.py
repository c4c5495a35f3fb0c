"""The processor: the only room that knows an engine library (emu.engine says what an engine is)."""
