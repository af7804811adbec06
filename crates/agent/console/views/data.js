// The database: what keys hold, changed here, and changing before one's eyes.

import { encode, follow, get, isRefused, read, request } from '../api.js';
import { attempt, confirm } from '../dialog.js';
import { card, field, h, said, setText } from '../dom.js';
import { ago, base64Words, clock, duration, plural } from '../format.js';
import { Table } from '../table.js';

const PAGE = 1_000;
const KEYS_MAX = 20_000;
// How soon what could not be read is asked for again.
const LOAD_AGAIN = 2_000;
const HISTORY_MAX = 100;
const FLASH_FOR = 1_600;
const SHOWN_MAX = 200;

const byBytes = (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

export function valueText(entry) {
  const value = entry.value ?? entry.value_base64;
  if (entry.value === undefined && typeof value === 'string') return base64Words(value, SHOWN_MAX);
  const text = Array.isArray(value) ? `{ ${value.join(', ')} }` : String(value ?? '');
  return entry.value === undefined && value !== undefined ? `${text} (base64)` : text;
}

const COLUMNS = [
  { key: 'key', label: 'Key', class: 'mono', make: () => said(''), sort: byBytes, show: (cell, entry) => setText(cell.firstChild, entry.key) },
  { key: 'kind', label: 'Kind', class: 'kind fold', sort: (a, b) => a.kind.localeCompare(b.kind), show: (cell, entry) => setText(cell, entry.kind) },
  { key: 'value', label: 'Value', class: 'mono', make: () => said(''), sort: (a, b) => valueText(a).localeCompare(valueText(b), 'en', { numeric: true }),
    show: (cell, entry) => setText(cell.firstChild, valueText(entry).slice(0, SHOWN_MAX)) },
  { key: 'expires', label: 'Expires', class: 'right fold', sort: (a, b) => (a.expires_at ?? Infinity) - (b.expires_at ?? Infinity) || 0,
    show: (cell, entry) => {
      setText(cell, entry.expires_at === null ? '–' : duration(entry.expires_at - Date.now() / 1000));
      cell.classList.toggle('flash', Date.now() - (entry.changedAt ?? 0) < FLASH_FOR);
    } },
];

// What this agent holds below a prefix, kept up by a watch.
class Shelf {
  entries = new Map();
  history = [];
  problem = '';
  isCut = false;
  #stream = null;
  #position = null;
  #turn = 0;

  constructor(onChange) {
    this.onChange = onChange;
  }

  async open(prefix) {
    this.close();
    this.#turn += 1;
    const turn = this.#turn;
    this.prefix = prefix;
    try {
      const found = await this.#load(prefix);
      if (turn !== this.#turn) return;
      this.entries = found;
      this.problem = '';
      this.#watch();
    } catch (problem) {
      if (turn === this.#turn) this.#retry(problem);
    }
    this.onChange();
  }

  #retry(problem) {
    this.problem = problem.message;
    if (!isRefused(problem)) this.timer = setTimeout(() => this.open(this.prefix), LOAD_AGAIN);
  }

  async #load(prefix) {
    const found = new Map();
    let after = '';
    this.isCut = false;
    for (;;) {
      const path = `/v1/data?prefix=${encode(prefix)}&limit=${PAGE}${after}`;
      const response = await request('GET', path);
      // What changes while pages are read comes again with the watch.
      this.#position = after === '' ? response.headers.get('rumor-position') : this.#position;
      const entries = await read(response);
      for (const entry of entries) found.set(entry.key, entry);
      if (entries.length < PAGE) return found;
      this.isCut = found.size >= KEYS_MAX;
      if (this.isCut) return found;
      after = `&after=${encode(entries.at(-1).key)}`;
    }
  }

  #watch() {
    const path = () => `/v1/watch?prefix=${encode(this.prefix)}${this.#position ? `&since=${encode(this.#position)}` : ''}`;
    this.#stream = follow(path, {
      hear: (line, name) => this.#hear(line, name),
      state: (word, problem) => {
        this.problem = word === 'live' ? '' : problem.message;
        this.onChange();
      },
    });
  }

  #hear(line, name) {
    if (name === 'watching') return;
    if (line.event === 'reload') return void this.open(this.prefix);
    this.#position = line.position;
    this.history.unshift({ at: Date.now() / 1000, ...line });
    if (this.history.length > HISTORY_MAX) this.history.pop();
    if (line.event === 'put') this.#put(line);
    else this.entries.delete(line.key);
    this.onChange();
  }

  // A watch gives the value, the entry more: expiry and conflicts, which are asked for where a key is opened.
  #put(line) {
    const known = this.entries.get(line.key);
    if (!known && this.entries.size >= KEYS_MAX) return void (this.isCut = true);
    const { key, kind, value, value_base64, version } = line;
    this.entries.set(key, { expires_at: line.expires_at ?? null, conflict: [], key, kind, value, value_base64, version, changedAt: Date.now() });
  }

  close() {
    clearTimeout(this.timer);
    this.#turn += 1;
    this.#stream?.close();
    this.#stream = null;
  }
}

const path = (key, action = '') => `/v1/data/${encode(key)}${action}`;

function registerEditor(entry) {
  const isText = entry.value !== undefined;
  const area = h('textarea', { 'aria-label': 'Value', spellcheck: 'false', value: isText ? entry.value : entry.value_base64 ?? '', readonly: !isText });
  const save = async () => {
    const headers = { 'if-match': `"${entry.version}"` };
    await attempt(() => request('PUT', path(entry.key), { body: area.value, headers }), `${entry.key} saved`);
  };
  return h('div', { class: 'in' }, area, isText ? null : h('small', null, 'Not text: shown as base64, and changed on the command line only.'),
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'primary', disabled: !isText, onclick: save }, 'Save')));
}

function counterEditor(entry) {
  const step = h('input', { type: 'number', value: '1', step: '1', 'aria-label': 'Amount' });
  const add = (sign) => attempt(() => {
    const amount = BigInt(step.value || '0') * BigInt(sign);
    return request('POST', path(entry.key, '/add'), { body: String(amount) });
  });
  return h('div', { class: 'in' }, h('p', null, h('b', null, valueText(entry)), ' ', h('small', null, 'the sum of what every node added')),
    h('div', { class: 'row' }, h('div', { class: 'some' }, step),
      h('button', { type: 'button', onclick: () => add(-1) }, 'Subtract'), h('button', { type: 'button', class: 'primary', onclick: () => add(1) }, 'Add')));
}

function setEditor(entry) {
  const elements = entry.value ?? entry.value_base64 ?? [];
  const isText = entry.value !== undefined;
  const remove = (element) => attempt(() => request('POST', path(entry.key, '/remove'), { body: element }), 'removed');
  const chips = elements.slice(0, SHOWN_MAX).map((element) => h('span', { class: 'tag' }, said(element),
    isText && h('button', { type: 'button', 'aria-label': `Remove ${element}`, title: `Remove ${element}`, onclick: () => remove(element) }, '×')));
  const input = h('input', { 'aria-label': 'Element', placeholder: 'Element', autocomplete: 'off', required: true });
  const insert = async (event) => {
    event.preventDefault();
    await attempt(() => request('POST', path(entry.key, '/insert'), { body: input.value }), 'inserted');
  };
  return h('div', { class: 'in' }, h('small', null, plural(elements.length, 'element')), h('div', { class: 'tags' }, chips),
    h('form', { class: 'row', onsubmit: insert }, h('div', { class: 'grow' }, input), h('button', { type: 'submit', class: 'primary' }, 'Insert')));
}

const EDITORS = { register: registerEditor, counter: counterEditor, set: setEditor };

async function remove(entry) {
  const text = 'It is deleted on every node. What others write at the same time stays.';
  if (!(await confirm({ title: `Delete ${entry.key}?`, text, action: 'Delete', isDanger: true }))) return;
  await attempt(() => request('DELETE', path(entry.key)), `${entry.key} deleted`);
}

function entryCard(entry, onClose) {
  const title = h('h2', { class: 'mono' }, said(entry.key));
  const drop = h('button', { type: 'button', class: 'danger', onclick: () => remove(entry) }, 'Delete…');
  const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: onClose }, '×');
  const conflict = entry.conflict.length > 0
    && h('p', { class: 'banner' }, `At the same time others wrote a ${entry.conflict.join(' and a ')}, which is not shown.`);
  const about = h('small', null, `${entry.kind}${entry.expires_at === null ? '' : `, expires in ${duration(entry.expires_at - Date.now() / 1000)}`}`);
  return h('section', { class: 'card', 'aria-label': 'Key' }, h('header', null, title, about, drop, close),
    conflict && h('div', { class: 'in' }, conflict), EDITORS[entry.kind](entry));
}

function newKey(prefix) {
  const key = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'config/color' });
  const kind = h('select', null, ['register', 'counter', 'set'].map((word) => h('option', { value: word }, word)));
  const value = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const ttl = h('input', { autocomplete: 'off', placeholder: 'none', pattern: '[0-9.]+(ms|s|m|h|d)' });
  const label = field('Value', value);
  kind.addEventListener('change', () => setText(label.firstChild, { register: 'Value', counter: 'Amount', set: 'Element' }[kind.value]));
  const write = async (event) => {
    event.preventDefault();
    const after = ttl.value ? `?ttl=${encode(ttl.value)}` : '';
    const made = await attempt(() => {
      if (kind.value === 'register') return request('PUT', `${path(key.value)}${after}`, { body: value.value });
      return request('POST', `${path(key.value, kind.value === 'counter' ? '/add' : '/insert')}${after}`, { body: value.value });
    }, () => `${key.value} written`);
    if (made) value.value = '';
  };
  key.value = prefix();
  return card('Write', h('form', { class: 'in', onsubmit: write }, field('Key', key),
    h('div', { class: 'row' }, h('div', { class: 'some' }, field('Kind', kind)), h('div', { class: 'some' }, label), h('div', { class: 'some' }, field('Time to live', ttl)),
      h('button', { type: 'submit', class: 'primary' }, 'Write'))));
}

function historyRow(line) {
  const about = line.event === 'put' ? valueText(line).slice(0, SHOWN_MAX) : line.event;
  return h('tr', null, h('td', { class: 'muted' }, clock(line.at)), h('td', { class: 'mono' }, said(line.key)),
    h('td', { class: line.event === 'put' ? 'mono' : 'muted' }, said(about)), h('td', { class: 'muted' }, said(line.author ?? '')));
}

export function openData({ store, rest, onClose }) {
  const search = h('input', { type: 'search', value: rest, placeholder: 'Prefix, as in config/', 'aria-label': 'Prefix of keys', spellcheck: 'false' });
  const found = h('small', { role: 'status' });
  const side = h('div');
  const history = h('tbody');
  const quiet = h('p', { class: 'note' }, 'Nothing has changed since this page was opened.');
  const crumbs = h('div', { class: 'crumbs in hidden' });
  let opened = null;
  let isDue = false;
  let shownVersion = '';

  const empty = () => {
    if (shelf.problem) return `Nothing to show: ${shelf.problem}.`;
    return search.value ? 'No key begins like that.' : 'The database is empty. Write the first key.';
  };
  const table = new Table({ label: 'Keys', name: 'entries', columns: COLUMNS, open: (entry) => choose(entry.key), empty,
    mark: (entry) => entry.key === opened, onSort: () => draw() });
  const draw = () => {
    isDue = false;
    const all = [...shelf.entries.values()].sort(byBytes);
    table.show(table.sort(all));
    setText(found, shelf.isCut ? `the first ${plural(all.length, 'key')}; narrow the prefix` : plural(all.length, 'key'));
    drawFolders();
    history.replaceChildren(...shelf.history.map(historyRow));
    quiet.classList.toggle('hidden', shelf.history.length > 0);
    const now = shelf.entries.get(opened);
    if (opened !== null && (now?.version ?? '') !== shownVersion) choose(opened);
  };
  const change = () => {
    if (!isDue) requestAnimationFrame(draw);
    isDue = true;
  };
  const shelf = new Shelf(change);

  // The next steps of a path: what follows the prefix up to the next slash.
  const drawFolders = () => {
    const { prefix } = shelf;
    const folders = new Map();
    for (const key of shelf.entries.keys()) {
      const end = key.indexOf('/', prefix.length);
      if (end >= 0) folders.set(key.slice(0, end + 1), (folders.get(key.slice(0, end + 1)) ?? 0) + 1);
      if (folders.size > 24) break;
    }
    const up = prefix.replace(/[^/]*\/?$/, '');
    const buttons = [...folders].map(([name, number]) => h('button', { type: 'button', class: 'quiet mono', onclick: () => browse(name) },
      said(name.slice(prefix.length)), h('small', null, ` ${number}`)));
    if (prefix !== '') buttons.unshift(h('button', { type: 'button', class: 'quiet', onclick: () => browse(up) }, '↑ up'));
    crumbs.replaceChildren(...buttons);
    crumbs.classList.toggle('hidden', buttons.length === 0);
  };
  const browse = (prefix) => {
    search.value = prefix;
    shelf.open(prefix);
  };
  const choose = async (key) => {
    opened = key;
    shownVersion = shelf.entries.get(key)?.version ?? '';
    try {
      const entry = await get(path(key));
      if (opened !== key) return;
      shownVersion = entry.version;
      side.replaceChildren(entryCard(entry, () => { opened = null; side.replaceChildren(); draw(); }));
    } catch (problem) {
      if (opened === key) side.replaceChildren(h('p', { class: 'banner' }, said(key), `: ${problem.status === 404 ? 'holds nothing any more' : problem.message}`));
    }
    table.show(table.sort([...shelf.entries.values()].sort(byBytes)));
  };

  let typing = null;
  search.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(() => shelf.open(search.value), 250); });
  const onHidden = () => (document.hidden ? shelf.close() : shelf.open(search.value));
  document.addEventListener('visibilitychange', onHidden);
  const timer = setInterval(() => table.show(table.sort([...shelf.entries.values()].sort(byBytes))), 5_000);
  onClose(() => { document.removeEventListener('visibilitychange', onHidden); clearInterval(timer); clearTimeout(typing); shelf.close(); table.close(); });
  shelf.open(search.value);

  const keys = card('Keys', crumbs, table.node);
  keys.classList.add('keys');
  keys.querySelector('header').append(found, h('div', { class: 'grow' }, search));
  const changes = card('Last changes', h('div', { class: 'scroll' }, quiet, h('table', { class: 'plain' }, history)));
  return [
    h('div', { class: 'head' }, h('h1', null, 'Data')),
    h('div', { class: 'data' }, keys, h('div', { class: 'side' }, side, newKey(() => search.value), changes)),
  ];
}
