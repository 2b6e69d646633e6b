# A capacitive soil moisture probe (DFRobot SEN0193, product page): its voltage falls from that in air to that in water.
# The pot is watered every few days and dries in between.

from chips import AnalogChip

_DRY_MV = 2150
_WET_MV = 950
_HOUR_MS = 3600000


class Chip(AnalogChip):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        options = config.get("options") or {}
        self.dry_mv = options.get("dry_mv", _DRY_MV)
        self.wet_mv = options.get("wet_mv", _WET_MV)

    def measure(self):
        moisture = self.signal("moisture", self.pot(self.wall_ms()))
        moisture = min(max(moisture, 0), 100000)
        self.uv = self.dry_mv * 1000 - (self.dry_mv - self.wet_mv) * moisture // 100
        self.taken({"moisture": moisture / 1000, "probe_voltage": self.uv / 1e6} if self.keeps_truth() else None)

    def pot(self, t_ms):
        """Thousandths of a percent: wet when it has been watered, then less by the hour."""
        every_ms = (60 + self.seed * 7 % 40) * _HOUR_MS
        since_ms = (t_ms + self.seed * 991 * _HOUR_MS) % every_ms
        return 78000 - since_ms * 52000 // every_ms
