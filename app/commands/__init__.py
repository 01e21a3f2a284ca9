"""The command line: a file for each verb.

`add(verbs)` adds the verb's parser, and `run(options)` does its work and returns the exit code. What a verb needs
beyond the libraries of scoring it imports when it runs, so that help and errors stay quick.
"""
