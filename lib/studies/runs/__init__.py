"""A run is a folder: its parameters, its files, the notebooks that make it."""

from studies.runs.folder import load_run
