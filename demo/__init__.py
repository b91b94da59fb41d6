"""The demo, `hatch run demo`: a real cluster reads the standard library, one task per file."""
