# Power-up of the emulated board: what the chip does before /boot.py, and what it runs then.
#
# Everything of the host's is read first. Then its file system goes out of sight and the flash is mounted at "/": from
# there on the program sees what a board has, and no more.

import gc
import json
import sys

import uos as os  # `import os` would give the board's
import vfs

_BOARD_MODULES = {
    "machine": "machine",
    "neopixel": "neopixel",
    "network": "network",
    "onewire": "onewire",
    "_onewire": "_onewire",
    "esp": "esp",
    "esp32": "esp32",
    "os": "os",
    "socket": "socket",
    "sys": "terminal",  # `import sys` would give the interpreter's own
    "time": "time",
}


def up():
    circuit_path, control_fd = sys.argv[1], int(sys.argv[2])
    try:
        return power_up(circuit_path, control_fd)
    except BaseException as error:  # a mistake in a model, mostly: the host tells it, with what is printed here
        sys.print_exception(error)
        with open(control_fd, "wb") as control:
            control.write(b"failed\n")
        raise


def power_up(circuit_path, control_fd):
    with open(circuit_path) as file:
        circuit = json.load(file)
    firmwares = set_aside(circuit["heap_bytes"])
    rom = sys.path[0]
    sys.path[:] = [rom, circuit["chips_dir"]]  # ours come before the interpreter's own modules of the same name
    import hardware

    hardware.open_board(circuit, control_fd)
    from scripted import Scripts

    hardware.scripts = Scripts(circuit["signals"], circuit["quantities"])
    solder(circuit, hardware)
    board = {name: __import__(source) for name, source in _BOARD_MODULES.items()}
    if circuit["timing"]["tls_ms"]:
        board["tls"] = __import__("slowtls")
    from flash import Flash

    flash = Flash(circuit["flash"], hardware)

    for name in list(sys.modules):  # a program that has a module called `chip` or `flash` gets its own
        if name != "__main__":
            del sys.modules[name]
    for name, module in board.items():
        sys.modules[name] = sys.modules["u" + name] = module
    sys.path[:] = ["", ".frozen", "/lib"]
    vfs.umount("/")
    fill_heap(hardware)
    del firmwares
    try:
        vfs.mount(flash, "/")
    except OSError:  # blank: a board makes a file system then (ports/esp32/modules/inisetup.py)
        vfs.VfsLfs2.mkfs(flash)
        vfs.mount(flash, "/")
    os.chdir("/")
    return hardware


def solder(circuit, hardware):
    """Put the chips where the circuit has them."""
    buses = circuit["buses"]
    for number, sensor in enumerate(circuit["sensors"]):
        sys.path.insert(0, sensor["model_dir"])
        module = __import__(sensor["chip"])
        sys.path.pop(0)
        chip = module.Chip(sensor, circuit["seed"] * 31 + number)
        chip.taken_at = sensor["taken_at"]
        if sensor.get("bus"):
            bus = buses[sensor["bus"]]
            if bus["kind"] == "onewire":
                hardware.onewire_chips.setdefault(bus["data"], []).append(chip)
                continue
            solder_i2c(bus["scl"], bus["sda"], sensor["address"], chip, hardware)
        elif hasattr(chip, "solder"):
            chip.solder(circuit, hardware)
        elif hasattr(chip, "read_uv"):
            hardware.analog[sensor["pin"]] = chip
        elif hasattr(chip, "rssi"):
            hardware.radio = chip
    if hardware.radio is None:
        from vitals import Radio

        hardware.radio = Radio({}, circuit["seed"])


def solder_i2c(scl, sda, address, chip, hardware):
    if (scl, sda) not in hardware.wires:
        from wires import Wires

        wires = hardware.wires[scl, sda] = Wires(scl, sda, hardware.circuit["seed"] ^ scl << 8 ^ sda)
        hardware.scl_of[scl] = hardware.sda_of[sda] = wires
    hardware.wires[scl, sda].chips[address] = chip


def set_aside(size_bytes):
    """The firmware's heap, taken in one piece while there is one, as after a chip's start: models and modules have what
    the host gave beside it."""
    gc.collect()
    return bytearray(size_bytes)


def fill_heap(hardware):
    """What models and modules have left of theirs, and the holes between them, are nobody's."""
    gc.collect()
    ballast = None
    for size in (4096, 256, 1):
        try:
            while True:
                ballast = (ballast, bytearray(size))
        except MemoryError:
            pass
    hardware.ballast = ballast


def run(hardware, namespace):
    """boot.py and main.py; then the prompt, where a board waits for ever (a watchdog that was armed still bites)."""
    del namespace["power"]
    repl = hardware.circuit["repl"]
    if repl:
        sys.atexit(lambda: hardware.leave(b"soft"))  # Ctrl-D or sys.exit() at the prompt
    sys.argv[:] = [""]
    outcome = b"interrupted"
    try:
        hardware.tell(b"booted")  # from now on there can be Ctrl-C
        outcome = execute("boot.py", namespace, hardware)
        if not hardware.circuit["main"]:
            outcome = b"skipped"
        elif outcome == b"done":
            outcome = execute("main.py", namespace, hardware)
    except KeyboardInterrupt:  # between two programs
        pass
    told = False
    while not told or not repl:
        try:
            if not told:
                hardware.tell(b"ended " + outcome)
                told = True
            if repl == "raw":
                sys.modules["sys"].skip_greeting()
            if not repl:
                hardware.wait()
        except KeyboardInterrupt:
            pass


def execute(path, namespace, hardware):
    try:
        os.stat(path)
    except OSError:
        return b"done"
    try:
        execfile(path, namespace)
    except KeyboardInterrupt as interrupt:
        sys.print_exception(interrupt)
        return b"interrupted"
    except SystemExit:  # a soft reset, on a board
        hardware.leave(b"soft")
    except BaseException as error:
        sys.print_exception(error)
        return b"failed"
    return b"done"
