"""Tables for the terminal: what clusters do, live or once."""
