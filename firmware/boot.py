"""Runs first at every start. There is one firmware to start; choosing between two comes with updates by air."""
