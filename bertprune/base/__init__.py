"""What everything stands on: errors, paths, files, progress, the machine, fingerprints of code."""
