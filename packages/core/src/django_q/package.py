"""The task dict: built, packed and read in one place."""
