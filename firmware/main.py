"""START: reads the two files that make this board what it is, builds the node and runs it."""

import sys
import time

from device import config


def main():
    try:
        settings, profile = config.load()
    except config.ConfigError as error:
        print("mpy-gateway:", error)  # and on to the REPL: restarting would not mend a file
        return
    from device import port
    from device.node import Node

    try:
        node = Node(settings, profile)
    except (ValueError, KeyError, TypeError, MemoryError) as error:
        print("mpy-gateway: /profile.json does not fit this board:", error)
        return
    try:
        try:
            node.run()
        except KeyboardInterrupt:  # Ctrl-C; a second one ends at once
            node.finish()
    except Exception as error:  # the edge of the program: say what happened, then start afresh
        sys.print_exception(error)
        lit = port.led(profile["outputs"])
        for i in range(20):
            lit(i & 1 == 0)
            time.sleep_ms(250)
        port.restart()


main()
