"""What the work costs: the benchmark, and the estimate of a study."""
