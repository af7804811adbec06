// Small charts: lines over time, and curves. Lines differ by dashes as well as by colour.

import { card, h, setText, svg } from './dom.js';

const BOTTOM = 16;
const TOP = 8;

// 1, 2 or 5 times a power of ten, not below the number.
export function roundUp(number) {
  if (number <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number * 0.999);
}

function key(index) {
  return svg('svg', { viewBox: '0 0 20 8', 'aria-hidden': 'true' },
    svg('path', { d: 'M0 4h20', class: `line${index}`, fill: 'none', 'stroke-width': '2' }));
}

// Drops what was measured longer ago than that, in seconds.
export function dropOld(points, span) {
  const least = (points.at(-1)?.[0] ?? 0) - span;
  points.splice(0, points.findIndex(([x]) => x >= least));
}

// `lines`: names. `show(points, xMin, xMax)`: for each line an array of [x, y]. Between points further apart than `gap` there is
// no line: nobody measured.
export class Chart {
  #data = null;

  constructor({ title, lines, format, xFormat, isTall = false, steps = false, isShare = false, gap = Infinity, note = null }) {
    Object.assign(this, { lines, format, xFormat, steps, isShare, gap });
    this.values = lines.map(() => h('b', null, '–'));
    this.now = h('div', { class: 'now' }, lines.map((name, index) => h('span', null, key(index), name, this.values[index])));
    this.svg = svg('svg', { role: 'img', 'aria-label': title });
    this.plot = h('div', { class: isTall ? 'plot tall' : 'plot' }, this.svg);
    this.node = card(title, this.now, this.plot, note && h('p', { class: 'muted in' }, note));
    this.node.classList.add('chart', 'live');
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.plot);
    this.plot.addEventListener('pointermove', (event) => this.#point(event));
    this.plot.addEventListener('pointerleave', () => { this.at = null; this.#draw(); });
    this.at = null;
  }

  close() {
    this.observer.disconnect();
  }

  show(data, xMin, xMax) {
    this.#data = { data, xMin, xMax };
    this.#draw();
  }

  #point(event) {
    const box = this.svg.getBoundingClientRect();
    this.at = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    this.#draw();
  }

  #draw() {
    if (!this.#data) return;
    const { data, xMin, xMax } = this.#data;
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0) return;
    const yMax = this.isShare ? 1 : roundUp(Math.max(0, ...data.flat().map(([, y]) => y)));
    const x = (value) => ((value - xMin) / (xMax - xMin || 1)) * width;
    const y = (value) => height - BOTTOM - (value / yMax) * (height - BOTTOM - TOP);
    const parts = [...this.#grid(width, yMax, y), ...this.#ends(width, height, xMin, xMax)];
    data.forEach((points, index) => this.#pieces(points).forEach((piece) => parts.push(...this.#line(piece, index, x, y, width))));
    const when = this.at === null ? xMax : xMin + this.at * (xMax - xMin);
    if (this.at !== null) parts.push(svg('path', { class: 'cursor', d: `M${x(when)} ${TOP}V${height - BOTTOM}` }));
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    this.#read(data, when);
  }

  #grid(width, yMax, y) {
    return [0, 0.5, 1].flatMap((part) => {
      const at = Math.round(y(part * yMax)) + 0.5;
      const line = svg('path', { class: 'grid', d: `M0 ${at}H${width}` });
      if (part === 0) return [line];
      return [line, svg('text', { x: 0, y: at - 3 }, this.format(part * yMax))];
    });
  }

  #ends(width, height, xMin, xMax) {
    return [
      svg('text', { x: 0, y: height - 2 }, this.xFormat(xMin)),
      svg('text', { x: width, y: height - 2, 'text-anchor': 'end' }, this.xFormat(xMax)),
    ];
  }

  #pieces(points) {
    const pieces = [];
    points.forEach((point, at) => {
      if (at === 0 || point[0] - points[at - 1][0] > this.gap) pieces.push([]);
      pieces.at(-1).push(point);
    });
    return pieces;
  }

  #line(points, index, x, y, width) {
    let path = '';
    points.forEach(([px, py], at) => {
      const [a, b] = [x(px).toFixed(1), y(py).toFixed(1)];
      if (at === 0) path = `M${a} ${b}`;
      else path += this.steps ? `H${a}V${b}` : `L${a} ${b}`;
    });
    const end = this.steps ? `${path}H${width}` : path;
    const [first, last] = [x(points[0][0]).toFixed(1), x(points.at(-1)[0]).toFixed(1)];
    const area = `${path}L${last} ${y(0)}L${first} ${y(0)}Z`;
    if (points.length === 1 && !this.steps) return [svg('circle', { class: `line${index}`, cx: first, cy: y(points[0][1]), r: 1.5 })];
    const shapes = [svg('path', { class: `line${index}`, d: end })];
    if (index === 0 && !this.steps) shapes.unshift(svg('path', { class: 'area line0', d: area }));
    return shapes;
  }

  // What each line was at that moment.
  #read(data, when) {
    data.forEach((points, index) => {
      let value = null;
      for (const [x, y] of points) {
        if (x > when + 1e-9) break;
        value = when - x > this.gap ? null : y;
      }
      setText(this.values[index], value === null ? '–' : this.format(value));
      // A line that is nowhere, as a limit that is not set, needs no key.
      this.values[index].parentNode.classList.toggle('hidden', points.length === 0 && data.length > 1);
    });
  }
}
