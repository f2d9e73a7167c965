"""Resource properties that the emulator would ignore."""
