"""`pscr score --engine ray`: worker processes on one machine or on a Ray cluster, and Parquet files."""
