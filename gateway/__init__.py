"""mpy-gateway: every sample a board takes is stored once, at its true time, and published to MQTT and browsers."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mpy-gateway")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0+unknown"
