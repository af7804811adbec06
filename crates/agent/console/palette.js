// Colours for canvases, as the style sheet has them now.

import { h } from './dom.js';
import { lasting } from './memory.js';

const NAMES = ['ink', 'muted', 'line', 'edge', 'panel', 'raised', 'accent', 'on-accent', 'alive', 'suspect', 'dead', 'left', 'revoked',
  'hop0', 'hop1', 'hop2', 'hop3', 'hop4', 'hop5'];

let colours = null;
const listeners = new Set();

function read() {
  const probe = h('span', { hidden: true });
  document.body.append(probe);
  const style = getComputedStyle(probe);
  const found = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = style.color;
  }
  found.font = getComputedStyle(document.body).fontFamily;
  found.size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  probe.remove();
  return found;
}

export function palette() {
  colours ??= read();
  return colours;
}

export function onPalette(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function changed() {
  colours = null;
  for (const listener of [...listeners]) listener();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
addEventListener('resize', () => { colours = null; });

const THEMES = ['auto', 'light', 'dark'];
const KEY = 'rumor-theme';

function apply(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// The button that goes round: as the system has it, light, dark.
export function themeButton(button) {
  const show = (theme) => {
    apply(theme);
    const words = theme === 'auto' ? 'as the system has it' : theme;
    button.setAttribute('aria-label', `Colours: ${words}`);
    button.title = `Colours: ${words}`;
  };
  let theme = THEMES.find((each) => each === lasting.get(KEY)) ?? 'auto';
  show(theme);
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    lasting.set(KEY, theme);
    show(theme);
    changed();
  });
}
