"""Runs the node as main.py does, with its files in the folder given as the argument."""

import sys

from device import config, port
from device.node import Node

folder = sys.argv[1]
port._BOOT_FILE = folder + "/boot.json"
try:
    settings, profile = config.load(folder + "/settings.json", folder + "/profile.json")
except config.ConfigError as error:
    print("mpy-gateway:", error)
    sys.exit(1)

node = Node(settings, profile)
try:
    node.run()
except KeyboardInterrupt:
    node.finish()
