"""What `pscr bench` and the scripts in benchmarks/ share: statistics, scenarios, stages, result files and plots."""
