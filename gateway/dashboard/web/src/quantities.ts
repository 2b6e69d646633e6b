// What a device measures, as its profile says. Pure.

import type { Device, Quantity, Sensor } from "./protocol.ts";

/** The board's own health; every other sensor measures the world. */
export const isVitals = (sensor: Sensor): boolean => sensor.chip === "vitals";

export const quantitiesOf = (sensors: readonly Sensor[]): Quantity[] => sensors.flatMap((sensor) => sensor.quantities);

export const periodOf = (device: Device, quantity: Quantity): number =>
  device.sensors.find((sensor) => sensor.name === quantity.sensor)?.period_ms ?? 1_000;

/** How long it is between two values as they come: on a board that sleeps they wait for each other. */
export const arrivesEvery = (device: Device, quantity: Quantity): number => periodOf(device, quantity) + device.waits_ms;

/** A quantity of words has nothing to draw. */
export const isDrawn = (quantity: Quantity): boolean => Object.keys(quantity.labels).length === 0;
