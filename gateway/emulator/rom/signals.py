# What there is to measure: a room in a temperate place, by the hour of the day. Pure integers, so that asking allocates
# nothing.

_DAY_MS = 86400000


def sine(t_ms, period_ms, amplitude):
    """amplitude * sin(2 pi t / period), by Bhaskara's approximation (0.2 % of the amplitude off at most)."""
    half = period_ms // 2
    phase = t_ms % period_ms
    negative = phase >= half
    x = (phase - half if negative else phase) * 18000 // half  # hundredths of a degree
    y = x * (18000 - x)
    value = 4 * y * amplitude // (405000000 - y)
    return -value if negative else value


def room_mc(t_ms, seed):
    """Milli-degrees Celsius: coolest at 3, warmest at 15 o'clock UTC; a heating that swings; draughts."""
    level = 20000 + seed * 7919 % 3000
    day = sine(t_ms - 9 * 3600000, _DAY_MS, 2300)
    heating = sine(t_ms + seed * 13007, 1260000, 450)
    draught = sine(t_ms + seed * 4099, 170000, 120)
    return level + day + heating + draught


def room_mrh(t_ms, seed):
    """Thousandths of a percent relative humidity: the same air holds less of its fill when it is warmer."""
    level = 47000 + seed * 104729 % 9000
    breath = sine(t_ms + seed * 30011, 2100000, 1300)
    return level - (room_mc(t_ms, seed) - 21500) * 3 + breath


def air_cpa(t_ms, seed):
    """Hundredths of a pascal: weather over days, the atmosphere's tide twice a day, a breeze."""
    level = 10098000 + seed * 611953 % 60000
    weather = sine(t_ms + seed * 997, 3 * _DAY_MS + 7 * 3600000, 75000) + sine(t_ms, 37 * 3600000, 21000)
    tide = sine(t_ms - 7 * 3600000, _DAY_MS // 2, 6000)
    breeze = sine(t_ms + seed * 50021, 540000, 900)
    return level + weather + tide + breeze
