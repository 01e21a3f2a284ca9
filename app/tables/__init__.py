"""Lists of paths in, rows of results out: the inputs, the formats, the files, and what goes between."""
