# `os` as an ESP32 has it: its name, and no way to the host.

from collections import namedtuple as _namedtuple

import hardware as _hw
import uos as _unix
import usys as _sys

VfsFat = _unix.VfsFat
VfsLfs2 = _unix.VfsLfs2
chdir = _unix.chdir
getcwd = _unix.getcwd
ilistdir = _unix.ilistdir
listdir = _unix.listdir
mkdir = _unix.mkdir
mount = _unix.mount
remove = _unix.remove
rename = _unix.rename
rmdir = _unix.rmdir
sep = _unix.sep
stat = _unix.stat
statvfs = _unix.statvfs
umount = _unix.umount
unlink = _unix.unlink
urandom = _unix.urandom

_uname = _namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))


def uname():
    version = _sys.implementation.version
    release = ".".join(str(part) for part in version[:3])
    if len(version) > 3 and version[3]:
        release += "-" + version[3]
    built = _sys.version.split("; MicroPython ")[-1]
    return _uname("esp32", "esp32", release, built, _hw.circuit["machine"])


def sync():
    pass  # the flash holds what was written to it
