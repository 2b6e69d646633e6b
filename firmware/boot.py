"""Runs first at every start. There is one version of the firmware to start; choosing between two comes with updates by air."""
