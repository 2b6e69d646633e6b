# `start.py CIRCUIT CONTROL_FD`: the board's power switch. /boot.py and /main.py run in this module's clean name space,
# as on a board.
import power

power.run(power.up(), globals())
