# What every model of a chip is made from. gateway/emulator/README.md says how to write one.

import hardware as _hw

_GARBAGE = 5  # of page.py's FAULTS


class Random:
    """A small generator, the same for the same seed, which allocates nothing (the `random` module belongs to the
    firmware)."""

    def __init__(self, seed):
        self._state = (seed * 2654435761 ^ 0x5DEECE66D) & 0xFFFFFFFF
        for _ in range(4):
            self.below(2)

    def below(self, limit):
        """An integer of 0 to limit - 1."""
        self._state = (self._state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self._state >> 8) * limit >> 24

    def noise(self, width):
        """An integer around 0, bell-shaped, hardly ever beyond `width`."""
        sides = width + 1
        return (self.below(sides) + self.below(sides) + self.below(sides) + self.below(sides) - 2 * width) // 2


class Chip:
    """A chip as its pins show it. `config` is the sensor's entry in /profile.json; `seed` differs for each sensor of
    each board."""

    def __init__(self, config, seed):
        self.config = config
        self.seed = seed
        self.random = Random(seed)
        self._headers = config.get("signals", {})

    def taken(self, values=None, times=1):
        """To be called once per measurement the driver triggers, when it triggers it. This is the truth the gateway is
        held to. `values`: what a perfect driver would make of it, by name; it only goes to a truth log, so make it only
        if keeps_truth(). `times`: so many at once, of a chip that measures by itself and is read later."""
        _hw.count(self.taken_at, self.config["name"], values, times)

    def fault(self):
        """What is wrong with this chip just now (board.fault): 0, or a number of page.py's FAULTS. An I2C bus asks by
        itself."""
        return _hw.page.get8(self.taken_at + 8)

    def heal(self):
        """It has been brought round: nothing is wrong with it any more."""
        _hw.page.put8(self.taken_at + 8, 0)

    def keeps_truth(self):
        return _hw.keeps_truth()

    def now_us(self):
        """Microseconds, for conversion times. Does not wrap."""
        return _hw.ticks_us()

    def wall_ms(self):
        """Unix milliseconds of the world outside, for signals."""
        return _hw.wall_ms()

    def signal(self, quantity, default, age_ms=0):
        """What there is to measure now, or was `age_ms` ago, in thousandths of the unit of `quantity` (one of the
        profile's): what the host scripted, else `default`, the chip's own noise and all."""
        header_at = self._headers.get(quantity)
        if header_at is None:
            return default
        return _hw.scripts.value(header_at, default, self.random, age_ms)

    # On an I2C bus. Raise OSError(19) where the real chip would not acknowledge.

    def write(self, data):
        """The controller wrote `data` (a buffer, to be copied if kept) to this chip's address."""
        raise OSError(5)

    def read_into(self, buffer):
        """The controller reads len(buffer) bytes."""
        raise OSError(5)


class I2CChip(Chip):
    """An I2C chip with numbered registers of a byte, as most are: a write begins with the number of a register, and a
    read goes on from where the last one ended."""

    def __init__(self, config, seed):
        super().__init__(config, seed)
        self._register = 0

    def write(self, data):
        self._register = data[0]
        for at in range(1, len(data)):
            self.write_register(self._register, data[at])
            self._register = self._register + 1 & 255

    def read_into(self, buffer):
        for at in range(len(buffer)):
            buffer[at] = self.read_register(self._register)
            self._register = self._register + 1 & 255

    def write_register(self, register, value):
        pass

    def read_register(self, register):
        return 0


class AnalogChip(Chip):
    """What gives a voltage at a pin. The first of `options.readings` readings (9 where the profile says nothing, as our
    drivers take them) is one measurement."""

    def __init__(self, config, seed):
        super().__init__(config, seed)
        self._readings = (config.get("options") or {}).get("readings", 9)
        self._left = 0
        self._last_us = 0
        self.uv = 0
        """At the pin."""

    def read_uv(self):
        """What the pin has now: the measurement, with the noise of an ESP32's converter."""
        now_us = self.now_us()
        if self._left == 0 or now_us - self._last_us > 1000000:  # a program that was interrupted begins anew
            self._left = self._readings
            self.measure()
        self._left -= 1
        self._last_us = now_us
        fault = self.fault()
        if fault:
            return self.random.below(3000000) if fault == _GARBAGE else 0
        spike = 60000 if self.random.below(20) == 0 else 0  # once in a while it is far off
        return self.uv + self.random.noise(6000) + spike

    def measure(self):
        """To be overridden: sets `uv` and calls `taken()`."""


class OneWireChip(Chip):
    """A chip on a 1-Wire bus: what all have, to be found and chosen by their ROM code (Maxim DS18B20 data sheet, "ROM
    commands"). `options.rom` is its code in hex; without, one is made of the seed."""

    FAMILY = 0x28

    _RESET, _COMMAND, _MATCH, _SEARCH, _ROM, _CHOSEN, _ASLEEP = range(7)

    def __init__(self, config, seed):
        super().__init__(config, seed)
        import _onewire

        self._crc8 = _onewire.crc8
        rom = (config.get("options") or {}).get("rom")
        if rom:
            self.rom = bytes(int(rom[at : at + 2], 16) for at in range(0, 16, 2))
        else:
            self.rom = bytes((self.FAMILY,)) + bytes(self.random.below(256) for _ in range(6))
            self.rom += bytes((self._crc8(self.rom),))
        self._state = self._ASLEEP
        self._byte = self._bits = self._at = 0

    def reset(self):
        self._state = self._COMMAND
        self._byte = self._bits = self._at = 0

    def write_bit(self, bit):
        state = self._state
        if state == self._MATCH:
            if bit != self._rom_bit(self._at):
                self._state = self._ASLEEP
            self._at += 1
            if self._at == 64 and self._state == self._MATCH:
                self._choose()
            return
        if state == self._SEARCH:
            if bit != self._rom_bit(self._at // 3):
                self._state = self._ASLEEP
            self._at += 1
            return
        if state != self._COMMAND and state != self._CHOSEN:
            return
        self._byte |= bit << self._bits
        self._bits += 1
        if self._bits == 8:
            byte, self._byte, self._bits = self._byte, 0, 0
            if state == self._CHOSEN:
                self.write_byte(byte)
            else:
                self._rom_command(byte)

    def read_bit(self):
        if self._state == self._SEARCH:
            bit = self._rom_bit(self._at // 3) ^ (self._at % 3)  # the bit, then its complement
            self._at += 1
            return bit
        if self._state == self._ROM:
            bit = self._rom_bit(self._at)
            self._at += 1
            return bit
        return self.give_bit() if self._state == self._CHOSEN else 1

    def _rom_command(self, byte):
        self._at = 0
        if byte == 0xCC:
            self._choose()
        elif byte == 0x55:
            self._state = self._MATCH
        elif byte == 0xF0:
            self._state = self._SEARCH
        else:
            self._state = self._ROM if byte == 0x33 else self._ASLEEP

    def _choose(self):
        self._state = self._CHOSEN
        self.chosen()

    def _rom_bit(self, at):
        return self.rom[at >> 3] >> (at & 7) & 1 if at < 64 else 1

    # To be overridden.

    def chosen(self):
        """It was addressed: a function command follows."""

    def write_byte(self, byte):
        """A byte for it."""

    def give_bit(self):
        """The next bit of its answer."""
        return 1
