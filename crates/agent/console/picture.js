// All members at once: a ring of up to 200, a grid above. Of a rumor it shows who has it, and from whom.
//
// Two canvases: the members on top, of which only those are drawn again that changed, and beneath them what moves.

import { h, said } from './dom.js';
import { onPalette, palette } from './palette.js';
import { sprite } from './shapes.js';
import { stateOf } from './words.js';

const RING_MAX = 200;
// Names fit beside so many.
const NAMED_MAX = 48;
const PULSE_FOR = 1_600;
const PULSES_MAX = 60;
const still = matchMedia('(prefers-reduced-motion: reduce)');

export class Picture {
  #members = [];
  #places = [];
  // How each member was drawn last.
  #painted = [];
  // Where members are, by id and by name; made anew when somebody asks after they changed.
  #known = null;
  #layout = { ring: true, r: 6, cell: 0, columns: 1, left: 0, top: 0 };
  #pulses = [];
  #spread = null;
  // Whether members may look other than they were painted.
  #isStale = true;
  // Where the chosen one is, and who it is: others come and go before it.
  #picked = -1;
  #pickedId = null;
  #newest;
  #frame = 0;
  #closers = [];

  // `open(member)` when one is chosen; `tell(member)` gives the words beside the pointer.
  // `events` are those that happened before.
  constructor({ label, open, tell, events = [], isTall = false }) {
    this.#newest = events[0];
    this.open = open;
    this.tell = tell;
    this.canvas = h('canvas', { tabindex: '0', role: 'application', 'aria-label': label });
    this.tip = h('div', { class: 'tip hidden', role: 'status' });
    this.under = h('canvas', { 'aria-hidden': 'true' });
    this.node = h('div', { class: isTall ? 'canvas tall live' : 'canvas live' }, this.under, this.canvas, this.tip);
    this.label = label;
    this.#listen();
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener('pointermove', (event) => this.#pick(this.#at(event.offsetX, event.offsetY)));
    canvas.addEventListener('pointerleave', () => this.#pick(-1));
    canvas.addEventListener('blur', () => this.#pick(-1));
    canvas.addEventListener('click', (event) => this.#choose(this.#at(event.offsetX, event.offsetY)));
    canvas.addEventListener('keydown', (event) => this.#onKey(event));
    const seen = new ResizeObserver(() => this.#resize());
    seen.observe(this.node);
    this.#closers.push(() => seen.disconnect(), onPalette(() => this.#resize()));
  }

  close() {
    cancelAnimationFrame(this.#frame);
    for (const close of this.#closers) close();
  }

  show(members) {
    const isSameCount = members.length === this.#members.length;
    this.#members = members;
    this.#known = null;
    this.#isStale = true;
    if (!isSameCount) this.#arrange();
    if (this.#pickedId !== null) this.#pickAgain();
    this.canvas.setAttribute('aria-label', `${this.label}: ${members.length}. Arrow keys choose one, Enter opens it.`);
    this.draw();
  }

  // Pulses for what has happened since it was told last; events come newest first.
  hear(events) {
    for (const event of events) {
      if (event === this.#newest) break;
      if (event.member) this.#pulse(event.member.id, event.by, stateOf(event.event));
    }
    this.#newest = events[0];
  }

  // A ring that grows around a member to which something happened, and a line from who said so.
  #pulse(id, fromName, colour) {
    if (still.matches) return;
    this.#pulses.push({ id, fromName, colour, at: performance.now() });
    if (this.#pulses.length > PULSES_MAX) this.#pulses.shift();
    this.draw();
  }

  // { steps: Map(name → { hop, from, at }), took, begun, playFor } or null.
  play(spread) {
    this.#spread = spread;
    this.#isStale = true;
    this.draw();
  }

  draw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#paint(now));
  }

  #resize() {
    this.#arrange();
    this.draw();
  }

  #arrange() {
    const { width, height } = this.node.getBoundingClientRect();
    this.width = width;
    this.height = height;
    const dpr = devicePixelRatio || 1;
    this.dpr = dpr;
    for (const canvas of [this.canvas, this.under]) {
      canvas.width = Math.round(width * dpr);
      canvas.height = Math.round(height * dpr);
    }
    this.#painted = [];
    this.#isStale = true;
    const n = this.#members.length;
    this.#places = n <= RING_MAX ? this.#ring(n) : this.#grid(n);
  }

  #ring(n) {
    const { size } = palette();
    const names = n <= NAMED_MAX ? size * 2.4 : size;
    const radius = Math.max(20, Math.min((this.width - names * 2.2) / 2, (this.height - names * 2.2) / 2));
    const r = n <= 1 ? size * 0.7 : Math.max(2.5, Math.min(size * 0.7, (Math.PI * radius / n) * 0.62));
    this.#layout = { ring: true, r, radius };
    const places = [];
    for (let i = 0; i < n; i += 1) {
      const angle = (2 * Math.PI * i) / Math.max(1, n) - Math.PI / 2;
      const reach = n === 1 ? 0 : radius;
      places.push({ x: this.width / 2 + reach * Math.cos(angle), y: this.height / 2 + reach * Math.sin(angle), angle });
    }
    return places;
  }

  #grid(n) {
    const margin = 14;
    const [w, hgt] = [this.width - 2 * margin, this.height - 2 * margin];
    let cell = Math.sqrt((w * hgt) / n);
    while (Math.floor(w / cell) * Math.floor(hgt / cell) < n && cell > 1) cell *= 0.99;
    const columns = Math.max(1, Math.floor(w / cell));
    const left = margin + (w - columns * cell) / 2 + cell / 2;
    const top = margin + cell / 2;
    this.#layout = { ring: false, r: Math.max(0.8, Math.min(9, cell * 0.36)), cell, columns, left, top };
    return Array.from({ length: n }, (_, i) => ({
      x: left + (i % columns) * cell, y: top + Math.floor(i / columns) * cell,
    }));
  }

  #at(x, y) {
    const { ring, r, cell, columns, left, top } = this.#layout;
    if (!ring) {
      const column = Math.round((x - left) / cell);
      const index = Math.round((y - top) / cell) * columns + column;
      return column >= 0 && column < columns && index >= 0 && index < this.#places.length ? index : -1;
    }
    let best = -1;
    let least = (r + 10) ** 2;
    this.#places.forEach((place, index) => {
      const distance = (place.x - x) ** 2 + (place.y - y) ** 2;
      if (distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  #pick(index) {
    const member = this.#members[index];
    if (index === this.#picked && (member?.id ?? null) === this.#pickedId) return;
    this.#picked = index;
    this.#pickedId = member?.id ?? null;
    this.tip.classList.toggle('hidden', !member);
    this.canvas.style.cursor = member ? 'pointer' : 'default';
    if (member) this.#placeTip(member, this.#places[index]);
    this.draw();
  }

  // The same one, wherever it is now.
  #pickAgain() {
    this.#picked = -1;
    this.#pick(this.#index().ids.get(this.#pickedId) ?? -1);
  }

  #placeTip(member, { x, y }) {
    this.tip.replaceChildren(said(member.name), ` ${this.tell(member)}`);
    const { width, height } = this.tip.getBoundingClientRect();
    const left = Math.max(4, Math.min(this.width - width - 4, x - width / 2));
    const above = y - height - 14;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${above < 4 ? y + 16 : above}px`;
  }

  #choose(index) {
    const member = this.#members[index];
    if (member) this.open(member);
  }

  #onKey(event) {
    const last = this.#members.length - 1;
    const down = this.#layout.ring ? 1 : this.#layout.columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down };
    if (event.key === 'Enter') return this.#choose(this.#picked);
    let next = null;
    if (event.key in steps) next = this.#picked < 0 ? 0 : this.#picked + steps[event.key];
    if (event.key === 'Home') next = 0;
    if (event.key === 'End') next = last;
    if (next === null) return undefined;
    event.preventDefault();
    if (this.#layout.ring && last >= 0) next = (next + last + 1) % (last + 1);
    return this.#pick(Math.max(0, Math.min(last, next)));
  }

  #paint(now) {
    this.#frame = 0;
    const [top, context] = [this.canvas, this.under].map((canvas) => canvas.getContext('2d'));
    for (const each of [top, context]) each.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const colours = palette();
    if (this.#layout.ring) this.#paintRing(context, colours);
    this.#pulses = this.#pulses.filter((pulse) => now - pulse.at < PULSE_FOR);
    if (this.#pulses.length > 0) this.#paintPulses(context, colours, now);
    const cursor = this.#spread ? this.#cursor() : 0;
    if (this.#spread) this.#paintSpread(context, colours, cursor);
    if (this.#isStale) this.#paintMembers(top, colours, cursor);
    this.#paintOwn(context, colours);
    if (this.#layout.ring && this.#members.length <= NAMED_MAX) this.#paintNames(context, colours);
    this.#paintPicked(context, colours);
    const isPlaying = Boolean(this.#spread) && cursor < this.#spread.took;
    this.#isStale = isPlaying;
    if (this.#pulses.length > 0 || isPlaying) this.draw();
  }

  #paintRing(context, colours) {
    if (this.#members.length < 2) return;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.arc(this.width / 2, this.height / 2, this.#layout.radius, 0, 2 * Math.PI);
    context.stroke();
  }

  #paintPulses(context, colours, now) {
    const known = this.#index();
    for (const { id, fromName, colour, at } of this.#pulses) {
      const place = this.#places[known.ids.get(id)];
      if (!place) continue;
      const age = (now - at) / PULSE_FOR;
      context.globalAlpha = 1 - age;
      context.strokeStyle = colours[colour];
      context.lineWidth = 2;
      context.beginPath();
      context.arc(place.x, place.y, this.#layout.r + 4 + age * 18, 0, 2 * Math.PI);
      const from = this.#places[known.names.get(fromName)];
      if (from && from !== place) {
        context.moveTo(from.x, from.y);
        context.lineTo(place.x, place.y);
      }
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  #index() {
    this.#known ??= {
      ids: new Map(this.#members.map((member, at) => [member.id, at])),
      names: new Map(this.#members.map((member, at) => [member.name, at])),
    };
    return this.#known;
  }

  // How far into the rumor's own time the picture is.
  #cursor() {
    const { took, begun, playFor } = this.#spread;
    if (still.matches || playFor <= 0) return took;
    return Math.min(took, ((performance.now() - begun) / playFor) * took);
  }

  #paintSpread(context, colours, cursor) {
    const { names } = this.#index();
    const places = { get: (name) => this.#places[names.get(name)] };
    const { steps } = this.#spread;
    context.lineWidth = this.#members.length > 60 ? 1 : 1.6;
    for (const [name, step] of steps) {
      const [from, to] = [places.get(step.from), places.get(name)];
      const left = steps.get(step.from)?.at ?? step.at;
      if (!from || !to || cursor < left) continue;
      const part = step.at > left ? Math.min(1, (cursor - left) / (step.at - left)) : 1;
      const [x, y] = [from.x + (to.x - from.x) * part, from.y + (to.y - from.y) * part];
      context.strokeStyle = colours[`hop${Math.min(5, step.hop)}`];
      context.globalAlpha = 0.75;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(x, y);
      context.stroke();
      context.globalAlpha = 1;
    }
  }

  #paintMembers(context, colours, cursor) {
    const sprites = this.#members.map((member) => this.#spriteOf(member, colours, cursor));
    // Neighbours on a ring may lie so close that none can be wiped out alone.
    if (this.#layout.ring && sprites.some((made, index) => made !== this.#painted[index])) {
      context.clearRect(0, 0, this.width, this.height);
      this.#painted = [];
    }
    sprites.forEach((made, index) => this.#paintSprite(context, made, index));
  }

  #spriteOf(member, colours, cursor) {
    let colour = colours[member.state];
    let shape = member.state;
    if (this.#spread) {
      const step = this.#spread.steps.get(member.name);
      const has = step && step.at <= cursor;
      colour = has ? colours[`hop${Math.min(5, step.hop)}`] : colours.edge;
      if (!has && shape === 'alive') shape = 'left';
    }
    return sprite(shape, this.#layout.r, colour, this.dpr);
  }

  #paintSprite(context, made, index) {
    const before = this.#painted[index];
    if (before === made) return;
    const { x, y } = this.#places[index];
    const { canvas, size } = made;
    const reach = this.#layout.cell / 2;
    if (before) context.clearRect(x - reach, y - reach, 2 * reach, 2 * reach);
    this.#painted[index] = made;
    context.drawImage(canvas, x - size / 2, y - size / 2, size, size);
  }

  // The agent that serves this page.
  #paintOwn(context, colours) {
    const index = this.#members.findIndex((member) => member.self);
    if (index < 0) return;
    const { x, y } = this.#places[index];
    const { r } = this.#layout;
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, r + 4, 0, 2 * Math.PI);
    context.stroke();
  }

  #paintNames(context, colours) {
    context.font = `${colours.size * 0.86}px ${colours.font}`;
    context.fillStyle = colours.muted;
    context.textBaseline = 'middle';
    const reach = this.#layout.r + 9;
    this.#members.forEach((member, index) => {
      const { x, y, angle } = this.#places[index];
      const [dx, dy] = this.#members.length === 1 ? [0, 1] : [Math.cos(angle), Math.sin(angle)];
      context.textAlign = Math.abs(dx) < 0.3 ? 'center' : dx > 0 ? 'left' : 'right';
      const lift = Math.abs(dx) < 0.3 ? dy * 0.45 * colours.size : 0;
      const name = member.name.length > 14 ? `${member.name.slice(0, 13)}…` : member.name;
      context.fillText(name, x + dx * reach, y + dy * reach + lift);
    });
  }

  #paintPicked(context, colours) {
    const place = this.#places[this.#picked];
    if (!place || !this.#members[this.#picked]) return;
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(place.x, place.y, this.#layout.r + 6, 0, 2 * Math.PI);
    context.stroke();
  }
}
