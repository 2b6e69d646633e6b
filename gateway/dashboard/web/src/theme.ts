// Light, dark, or as the system has it. Kept in this browser.

import { signal } from "@preact/signals";

const KEY = "mpy-gateway.theme";
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const theme = signal<Theme>(THEMES.find((one) => one === kept()) ?? "auto");

function kept(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // this browser keeps nothing; the choice then lasts as long as the page
  }
}

function keep(): void {
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // as above
  }
}

/** Grows when colours may have changed: canvases do not notice by themselves. */
export const palette = signal(0);

function apply(): void {
  document.documentElement.dataset["theme"] = theme.value;
  palette.value++;
}

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
  keep();
  apply();
}

apply();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => palette.value++);
