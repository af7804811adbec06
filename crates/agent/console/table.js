// A table of any length: rows that are not in sight do not exist.

import { h, setText } from './dom.js';

// Rows drawn beyond the edges, so that fast scrolling shows no holes.
const SPARE = 6;

// How long a row shows that it has changed.
const FLASH_FOR = 1_600;
const FLASH = [{ backgroundColor: 'color-mix(in srgb, var(--accent) 40%, transparent)', offset: 0 }];
// The same without motion: there, and then not.
const MARK = { outline: Array(2).fill('2px solid var(--accent)'), outlineOffset: Array(2).fill('-2px') };
const still = matchMedia('(prefers-reduced-motion: reduce)');

const idOf = (item) => item.id ?? item.key;

// A column: { key, label, class?, make?(), show(cell, item), sort?(a, b) }.
export class Table {
  #items = [];
  #lines = new Map();
  // The row that has the focus, or would get it, and whose it is once somebody has been there.
  #focused = 0;
  #focusedId = null;
  #sorted;

  // `changedAt(item)`: when it changed before one's eyes, in milliseconds, if it did.
  constructor({ label, name, columns, open, empty, mark = () => false, onSort = () => {}, changedAt = () => undefined }) {
    Object.assign(this, { columns, open, empty, mark, onSort, changedAt });
    this.#sorted = { key: columns[0].key, isDown: false };
    this.heads = h('div', { class: 'heads', role: 'row' }, columns.map((column) => this.#head(column)));
    this.space = h('div', { class: 'space', role: 'rowgroup' });
    this.body = h('div', { class: 'body', onscroll: () => this.#draw(), onkeydown: (event) => this.#onKey(event), onfocusin: (event) => this.#onFocus(event) }, this.space);
    this.nothing = h('p', { class: 'note hidden' });
    this.node = h('div', { class: `table live ${name}`, role: 'table', 'aria-label': label },
      h('div', { role: 'rowgroup' }, this.heads), this.nothing, this.body);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.body);
    this.#showSorted();
  }

  close() {
    this.observer.disconnect();
  }

  #head(column) {
    const cell = h('div', { role: 'columnheader', class: `cell ${column.class ?? ''}`, 'data-key': column.key });
    if (!column.sort) cell.append(h('small', null, column.label));
    else cell.append(h('button', { type: 'button', onclick: () => this.#sortBy(column) }, column.label));
    return cell;
  }

  #sortBy(column) {
    const isDown = this.#sorted.key === column.key ? !this.#sorted.isDown : false;
    this.#sorted = { key: column.key, isDown };
    this.#showSorted();
    this.onSort();
  }

  #showSorted() {
    for (const head of this.heads.children) {
      if (head.dataset.key !== this.#sorted.key) head.removeAttribute('aria-sort');
      else head.setAttribute('aria-sort', this.#sorted.isDown ? 'descending' : 'ascending');
    }
  }

  // Puts items, which come by name, into the chosen order.
  sort(items) {
    const column = this.columns.find(({ key }) => key === this.#sorted.key);
    const sign = this.#sorted.isDown ? -1 : 1;
    // The first column is the order in which they come.
    if (column === this.columns[0]) return this.#sorted.isDown ? items.reverse() : items;
    return items.sort((a, b) => sign * column.sort(a, b));
  }

  show(items) {
    this.#items = items;
    this.node.setAttribute('aria-rowcount', items.length + 1);
    this.nothing.classList.toggle('hidden', items.length > 0);
    this.body.classList.toggle('hidden', items.length === 0);
    if (items.length === 0) setText(this.nothing, this.empty());
    const hasFocus = this.space.contains(document.activeElement);
    const before = this.#focused;
    const now = this.#focusedId === null ? -1 : items.findIndex((item) => idOf(item) === this.#focusedId);
    this.#focused = Math.min(now < 0 ? before : now, Math.max(0, items.length - 1));
    if (hasFocus && this.#focused !== before) this.#focus();
    else this.#draw();
  }

  #onFocus({ target }) {
    for (const [index, line] of this.#lines) {
      if (line.node !== target) continue;
      this.#focused = index;
      this.#focusedId = idOf(this.#items[index]);
    }
  }

  // The row comes into sight, and gets the focus.
  #focus() {
    const height = this.#height();
    const top = this.#focused * height;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    if (top + height > this.body.scrollTop + this.body.clientHeight) this.body.scrollTop = top + height - this.body.clientHeight;
    this.#draw();
    this.#lines.get(this.#focused)?.node.focus();
  }

  // How high a row is, as the style sheet has it.
  #height() {
    const root = getComputedStyle(document.documentElement);
    return Math.round(parseFloat(root.getPropertyValue('--row')) * parseFloat(root.fontSize));
  }

  #draw() {
    const height = this.#height();
    const size = `${this.#items.length * height}px`;
    if (this.space.style.height !== size) this.space.style.height = size;
    const first = Math.max(0, Math.floor(this.body.scrollTop / height) - SPARE);
    const last = Math.min(this.#items.length, Math.ceil((this.body.scrollTop + this.body.clientHeight) / height) + SPARE);
    for (const [index, line] of this.#lines) {
      if (index >= first && index < last) continue;
      line.node.remove();
      this.#lines.delete(index);
    }
    for (let index = first; index < last; index += 1) this.#drawLine(index, height);
  }

  #drawLine(index, height) {
    let line = this.#lines.get(index);
    if (!line) {
      line = this.#makeLine(index);
      line.node.style.transform = `translateY(${index * height}px)`;
      this.#lines.set(index, line);
    }
    const item = this.#items[index];
    this.columns.forEach((column, at) => column.show(line.cells[at], item));
    if (line.item !== item) this.#flash(line, item);
    line.node.classList.toggle('marked', this.mark(item));
    line.node.tabIndex = index === this.#focused ? 0 : -1;
  }

  // What another item began in this row ends; what this one began elsewhere goes on.
  #flash(line, item) {
    line.item = item;
    line.flash?.cancel();
    line.flash = null;
    const age = Date.now() - (this.changedAt(item) ?? -Infinity);
    if (age >= FLASH_FOR) return;
    line.flash = line.node.animate(still.matches ? MARK : FLASH, { duration: FLASH_FOR, easing: 'ease-out' });
    line.flash.currentTime = age;
  }

  #makeLine(index) {
    const cells = this.columns.map((column) => {
      return h('div', { role: 'cell', class: `cell ${column.class ?? ''}` }, column.make?.());
    });
    const node = h('div', {
      class: 'line', role: 'row', 'aria-rowindex': index + 2, onclick: () => this.open(this.#items[index]),
    }, cells);
    this.space.append(node);
    return { node, cells };
  }

  #onKey(event) {
    const page = Math.max(1, Math.floor(this.body.clientHeight / this.#height()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === 'Enter' && this.#items[this.#focused]) return this.open(this.#items[this.#focused]);
    if (!(event.key in steps)) return undefined;
    event.preventDefault();
    this.#focused = Math.max(0, Math.min(this.#items.length - 1, this.#focused + steps[event.key]));
    return this.#focus();
  }
}
