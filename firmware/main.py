"""START: reads the two files that make this board what it is, builds the node and runs it.

The REPL is for Ctrl-C and for files that only a person can mend. Whatever else goes wrong ends in a restart.
"""

import sys
import time

from device import config, port

_RESTART_S = 5
_NO_MEMORY_S = 60  # a restart mends it only where a soft reset had left too little: time to read the sentence


def main():
    try:
        run()
    finally:  # also after a second Ctrl-C, and where a soft reset left us a watchdog: who is at the REPL needs time
        port.relax_watchdog()


def run():
    """Until Ctrl-C, or at once where a file is wrong. Everything else is a restart."""
    outputs = ()
    wait_s = _RESTART_S
    try:
        settings, profile = config.load()
        outputs = profile["outputs"]
        try:
            node = make(settings, profile)
        except (ValueError, KeyError, TypeError) as error:
            print("mpy-gateway: /profile.json does not fit this board:", error)
            return
        except MemoryError:
            wait_s = _NO_MEMORY_S
            samples = profile["delivery"]["ram_samples"]
            print("mpy-gateway: too little memory: make ram_samples (%d) in the profile smaller" % samples)
            raise
        try:
            try:
                node.run()
            except KeyboardInterrupt:  # Ctrl-C; a second one ends at once
                node.finish()
        except Exception:  # it ends in a restart: what is in memory is saved, if that can be done
            save(node)
            raise
    except config.ConfigError as error:
        print("mpy-gateway:", error)  # and on to the REPL: restarting would not mend a file
    except Exception as error:  # the edge of the program: say what happened, then start afresh
        sys.print_exception(error)
        blink(outputs, wait_s)
        port.restart()


def make(settings, profile):
    """The node. Whatever it raises is for `run`."""
    port.rest(profile["outputs"])  # first: loading takes seconds
    if profile.get("power", {}).get("deep_sleep"):
        from device.doze import Sleeper  # loads the rest when it is needed

        return Sleeper(settings, profile)
    from device import parts

    parts.load(settings["gateway"]["ca"])
    from device.node import Node

    return Node(settings, profile)


def save(node):
    try:
        node.rest()
        node.save()
    except Exception as error:  # whatever it is, the first one is what has to be told
        sys.print_exception(error)


def blink(outputs, seconds):
    try:
        lit = port.led(outputs)
    except Exception:  # the LED may be what is wrong
        lit = port.led(())
    for i in range(seconds * 4):
        lit(i & 1 == 0)
        time.sleep_ms(250)


main()
