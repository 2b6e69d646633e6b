# `esp`, as far as it says what the board is.

import hardware as _hw


def flash_size():
    """Bytes of the whole chip; the file system has what the partition table leaves."""
    return _hw.circuit["flash_bytes"]


def osdebug(*_):
    pass
