"""Becomes a MicroPython that does not outlive its host: `launch.py LIFELINE module|program WHERE ARGUMENT...`

LIFELINE is the reading end of a pipe whose other end only the host holds. When that end closes, the kernel sends
SIGIO, which ends a process that does not handle it: however the host ended, and without a thread or a poll here.
(PR_SET_PDEATHSIG would need code between fork and exec, and fires at the end of a mere thread.) Runs under
`python -I -S`, so the imports are few.
"""

import fcntl
import os
import resource
import select
import sys


def main() -> None:
    lifeline, kind, where, *arguments = sys.argv[1:]
    hold(int(lifeline))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if kind == "program":
        os.execv(where, ["micropython", *arguments])  # noqa: S606 - no shell is wanted; `where` is the interpreter we found
    sys.path.insert(0, where)
    import micropython_module  # type: ignore[import-not-found]  # noqa: PLC0415 - not on every machine, and has no types

    sys.exit(micropython_module.run_main(["micropython", *arguments]))


def hold(lifeline: int) -> None:
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    closed = select.poll()  # select() itself takes no number above 1023, and many boards have one
    closed.register(lifeline)
    if closed.poll(0):  # closed before the kernel was told to watch it
        sys.exit("the host has gone")


main()
