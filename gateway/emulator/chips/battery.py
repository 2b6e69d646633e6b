# A lithium cell behind a divider of two resistors: full by seed, and a little emptier by the hour.

from chips import AnalogChip


class Chip(AnalogChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        options = config.get("options") or {}
        self.bottom = options.get("r_bottom_kohm", 100)
        self.whole = self.bottom + options.get("r_top_kohm", 100)

    def measure(self):
        mv = self.signal("battery_voltage", self.cell_mv(self.wall_ms()))
        self.uv = mv * 1000 * self.bottom // self.whole
        self.taken({"battery_voltage": mv / 1000} if self.keeps_truth() else None)

    def cell_mv(self, t_ms):
        weeks_ms = 6 * 7 * 86400000
        return 4150 - (t_ms + self.seed * 86400000) % weeks_ms * 500 // weeks_ms
