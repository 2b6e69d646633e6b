"""What a wake of a board that sleeps costs, without Wi-Fi: from the first import to deep sleep, with sensors that
answer at once. Prints one JSON object. Run by tests/bench/firmware.py, on the firmware as it is flashed.

    wake.py FOLDER     an empty one, in which the board's flash begins
"""

import sys
import time

began_us = time.ticks_us()

from device.doze import Sleeper  # noqa: E402  # what is imported is what is measured

imported_us = time.ticks_diff(time.ticks_us(), began_us)

import json  # noqa: E402
import os  # noqa: E402

import napper  # noqa: E402


def loop_us():
    began_us = time.ticks_us()
    for _ in range(100000):
        pass
    return time.ticks_diff(time.ticks_us(), began_us)


def main(folder):
    stage = napper.Stage(folder)
    before_us = time.ticks_us()
    try:
        Sleeper(napper.SETTINGS, napper.PROFILE).run()
    except napper.Asleep:
        work_us = time.ticks_diff(time.ticks_us(), before_us)
    found = {"import_us": imported_us, "work_us": work_us, "loop_100k_us": loop_us()}
    found["records"] = len(stage.remembered().records)
    found["modules"] = sorted(name for name in sys.modules if name.startswith("device"))
    found["wrote"] = os.listdir(folder)
    print(json.dumps(found))


main(sys.argv[1])
