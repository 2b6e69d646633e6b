"""Inner loops over bytes in machine code (masking 1 KB: 2 us instead of 175). Imported by `fast.py` where the port has
the viper emitter; elsewhere importing this file fails and the plain versions there do the same.
Ships as .py: compiled ahead, it would fit one processor only. Viper takes 4 arguments at most.
"""

import micropython


@micropython.viper
def mask(buf, start: int, end: int, key):
    b = ptr8(buf)
    k = ptr8(key)
    i = start
    while i < end:
        b[i] = b[i] ^ k[(i - start) & 3]
        i += 1


@micropython.viper
def utf8(state: int, buf, start: int, end: int) -> int:
    b = ptr8(buf)
    i = start
    while i < end:
        c = b[i]
        i += 1
        if state == 0:
            if c < 0x80:
                continue
            if c < 0xC2:
                return -1
            if c < 0xE0:
                state = 1
            elif c < 0xF0:
                state = 4 if c == 0xE0 else (5 if c == 0xED else 2)
            elif c < 0xF5:
                state = 6 if c == 0xF0 else (7 if c == 0xF4 else 3)
            else:
                return -1
        else:
            low = 0xA0 if state == 4 else (0x90 if state == 6 else 0x80)
            high = 0x9F if state == 5 else (0x8F if state == 7 else 0xBF)
            if c < low or c > high:
                return -1
            state = state - 1 if state < 4 else (1 if state < 6 else 2)
    return state


@micropython.viper
def put(buf, at: int, source) -> int:
    size = int(len(source))
    if at + size > int(len(buf)):
        raise IndexError
    b = ptr8(buf)
    s = ptr8(source)
    i = 0
    while i < size:
        b[at + i] = s[i]
        i += 1
    return at + size


@micropython.viper
def number(buf, at: int, value: int, decimals: int) -> int:
    room = int(len(buf))
    b = ptr8(buf)
    if value < 0:
        if at >= room:
            raise IndexError
        b[at] = 45
        at += 1
        value = 0 - value
    end = at + 1
    rest = value // 10
    while rest:
        rest = rest // 10
        end += 1
    point = -1
    if decimals:
        if end < at + decimals + 1:
            end = at + decimals + 1
        point = end - decimals
        end += 1
    if end > room:
        raise IndexError
    i = end - 1
    while i >= at:
        if i == point:
            b[i] = 46
        else:
            rest = value // 10
            b[i] = 48 + value - rest * 10
            value = rest
        i -= 1
    return end
