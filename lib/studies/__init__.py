"""Four published studies of image understanding, re-run from raw data to a paper-ready table."""
