"""The command line: a file for each verb, which adds its parser and runs it."""
