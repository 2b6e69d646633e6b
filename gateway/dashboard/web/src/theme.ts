// Light, dark, or as the system has it. Kept in this browser.

import { signal } from "@preact/signals";

const KEY = "mpy-gateway.theme";
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const kept = localStorage.getItem(KEY);
export const theme = signal<Theme>(THEMES.find((one) => one === kept) ?? "auto");

/** Grows when colours may have changed: canvases do not notice by themselves. */
export const palette = signal(0);

function apply(): void {
  document.documentElement.dataset["theme"] = theme.value;
  palette.value++;
}

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
  localStorage.setItem(KEY, theme.value);
  apply();
}

apply();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => palette.value++);
