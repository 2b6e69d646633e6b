"""Builds the dashboard page into the package (see gateway/dashboard/web)."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebHook(BuildHookInterface):
    def initialize(self, version, build_data):
        pass
