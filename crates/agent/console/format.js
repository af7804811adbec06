// Numbers, times and sizes as people read them.

export function count(number) {
  return Number(number).toLocaleString('en-US');
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${Number(number) === 1 ? '' : 's'}`;
}

// About three digits.
export function short(number) {
  const size = Math.abs(number);
  if (size >= 100 || Number.isInteger(number)) return count(Math.round(number));
  return String(Number(number.toFixed(size >= 10 ? 1 : 2)));
}

// Not quite all is never said as all, nor a little as nothing.
export function percent(share) {
  if (share > 0.999 && share < 1) return '99.9 %';
  return `${short(share < 0.001 ? share * 100 : Math.floor(share * 1000 + 1e-9) / 10)} %`;
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(number) {
  let size = number;
  let unit = 0;
  while (size >= 1000 && unit < SIZES.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(size) : short(size)} ${SIZES[unit]}`;
}

export function millis(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const ms = seconds * 1000;
  if (ms >= 1000) return `${short(ms / 1000)} s`;
  if (Number.isInteger(ms)) return `${ms} ms`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

export function ago(moment) {
  return moment === null || moment === undefined ? '–' : duration(Date.now() / 1000 - moment);
}

function two(number) {
  return String(number).padStart(2, '0');
}

export function clock(moment) {
  const at = new Date(moment * 1000);
  const hundredths = two(Math.floor(at.getMilliseconds() / 10));
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${hundredths}`;
}

export function tags(pairs) {
  return Object.entries(pairs).map(([key, value]) => (value === '' ? key : `${key}=${value}`)).join(' ');
}

// What is not text, in words and as it was sent.
export function base64Words(base64, shown) {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  const size = (base64.length / 4) * 3 - padding;
  return `${plural(size, 'byte')} that ${size === 1 ? 'is' : 'are'} not text, as base64: ${base64.slice(0, shown)}${base64.length > shown ? '…' : ''}`;
}

// n2 before n10.
const collator = new Intl.Collator('en', { numeric: true });
export const compareNames = collator.compare;
