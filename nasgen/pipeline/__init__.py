"""The stages of a run, a file a phase. Importing this package imports nothing heavy."""
