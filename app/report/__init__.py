"""The page that `pscr report` writes: images and scores, their statistics, plots, and the page itself.

data -> what is known of every image; labels -> groups and prompts from csv files; pictures -> thumbnails, maps and
identical images; statistics -> means, comparisons and their intervals; plots -> SVG; words -> what is said of it all;
assemble -> the report; page -> one HTML file; engine -> all of it, from the options to the file.

`pscr compare` stands on the same statistics: score_sets -> its two sides; two_sets -> the verdict; compare_engine ->
all of it.
"""
