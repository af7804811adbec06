// The database: what keys hold, changed here, and changing before one's eyes.

import { encode, follow, get, isRefused, read, request } from '../api.js';
import { attempt, confirm } from '../dialog.js';
import { card, field, h, said, setText } from '../dom.js';
import { base64Words, clock, compareNames, duration, plural } from '../format.js';
import { Rows } from '../rows.js';
import { Table } from '../table.js';

const PAGE = 1_000;
const KEYS_MAX = 20_000;
// How soon what could not be read is asked for again.
const LOAD_AGAIN = 2_000;
const HISTORY_MAX = 100;
const SHOWN_MAX = 200;

const byBytes = (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

function valueText(entry) {
  const value = entry.value ?? entry.value_base64;
  if (entry.value === undefined && typeof value === 'string') return base64Words(value, SHOWN_MAX);
  const text = Array.isArray(value) ? `{ ${value.join(', ')} }` : String(value ?? '');
  return entry.value === undefined && value !== undefined ? `${text} (base64)` : text;
}

// As much of it as is shown and sorted by, made once for each version.
const texts = new WeakMap();

function textOf(entry) {
  if (!texts.has(entry)) texts.set(entry, valueText(entry).slice(0, SHOWN_MAX));
  return texts.get(entry);
}

const COLUMNS = [
  { key: 'key', label: 'Key', class: 'mono', make: () => said(''), sort: byBytes, show: (cell, entry) => setText(cell.firstChild, entry.key) },
  { key: 'kind', label: 'Kind', class: 'kind fold', sort: (a, b) => compareNames(a.kind, b.kind), show: (cell, entry) => setText(cell, entry.kind) },
  { key: 'value', label: 'Value', class: 'mono', make: () => said(''), sort: (a, b) => compareNames(textOf(a), textOf(b)),
    show: (cell, entry) => setText(cell.firstChild, textOf(entry)) },
  { key: 'expires', label: 'Expires', class: 'right fold', sort: (a, b) => (a.expires_at ?? Infinity) - (b.expires_at ?? Infinity) || 0,
    show: (cell, entry) => setText(cell, entry.expires_at === null ? '–' : duration(entry.expires_at - Date.now() / 1000)) },
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

const registerText = (entry) => entry.value ?? entry.value_base64 ?? '';

// What is typed stays as long as it is not saved, and with it the version that it began from.
function registerEditor(key) {
  const area = h('textarea', { 'aria-label': 'Value', spellcheck: 'false' });
  const binary = h('small', { class: 'hidden' }, 'Not text: shown as base64, and changed on the command line only.');
  const meanwhile = h('p', { class: 'banner hidden', role: 'status' });
  const theirs = h('button', { type: 'button', class: 'hidden', onclick: () => take(newest) }, 'Drop mine');
  const button = h('button', { type: 'button', class: 'primary', onclick: () => save() }, 'Save');
  // What the text began from, and what the key holds now, null where it was deleted.
  let base = null;
  let newest = null;
  const take = (entry) => {
    base = entry;
    newest = entry;
    const text = registerText(entry);
    if (area.value !== text) area.value = text;
    area.readOnly = entry.value === undefined;
    button.disabled = area.readOnly;
    binary.classList.toggle('hidden', !area.readOnly);
    tell();
  };
  const tell = () => {
    const isSame = newest !== null && newest.version === base.version;
    meanwhile.classList.toggle('hidden', isSame);
    theirs.classList.toggle('hidden', isSame || newest === null);
    if (isSame) return;
    meanwhile.replaceChildren(newest === null ? 'It was deleted meanwhile. What you typed is kept.' : 'It was changed meanwhile, to ', newest ? said(textOf(newest)) : '');
  };
  const isDirty = () => base !== null && area.value !== registerText(base);
  const show = (entry) => {
    const isTaken = !isDirty() || (entry !== null && area.value === registerText(entry));
    if (entry !== null && isTaken) return take(entry);
    newest = entry;
    return tell();
  };
  // What others wrote and this person may not have seen is overwritten only on purpose.
  const isMeant = () => {
    if (newest === null) return confirm({ title: `Write ${key} again?`, text: 'It was deleted meanwhile.', action: 'Write' });
    if (newest.version === base.version) return true;
    return confirm({ title: `Overwrite ${key}?`, text: `It was changed meanwhile, and holds ${textOf(newest)}.`, action: 'Overwrite', isDanger: true });
  };
  const save = async () => {
    const over = newest;
    if (!(await isMeant())) return;
    const [began, text] = [base, area.value];
    const headers = over === null ? { 'if-none-match': '*' } : { 'if-match': `"${over.version}"` };
    const written = await attempt(async () => read(await request('PUT', path(key), { body: text, headers })), `${key} saved`);
    if (!written || base !== began) return;
    // The watch tells of it too, before or after this.
    base = { ...began, value: text, version: written.version };
    if (newest === over) newest = base;
    tell();
  };
  const node = h('div', { class: 'in' }, meanwhile, area, binary, h('div', { class: 'buttons' }, theirs, button));
  return { node, show, isDirty };
}

function counterEditor(key) {
  const sum = h('b');
  const step = h('input', { type: 'number', value: '1', step: '1', 'aria-label': 'Amount' });
  const add = (sign) => attempt(() => {
    const amount = BigInt(step.value || '0') * BigInt(sign);
    return request('POST', path(key, '/add'), { body: String(amount) });
  });
  const node = h('div', { class: 'in' }, h('p', null, sum, ' ', h('small', null, 'the sum of what every node added')),
    h('div', { class: 'row' }, h('div', { class: 'some' }, step),
      h('button', { type: 'button', onclick: () => add(-1) }, 'Subtract'), h('button', { type: 'button', class: 'primary', onclick: () => add(1) }, 'Add')));
  return { node, show: (entry) => entry && setText(sum, valueText(entry)), isDirty: () => false };
}

function setEditor(key) {
  const [size, chips] = [h('small'), h('div', { class: 'tags' })];
  const input = h('input', { 'aria-label': 'Element', placeholder: 'Element', autocomplete: 'off', required: true });
  let isText = true;
  const remove = async (element) => {
    // The button goes with what it removes.
    if (await attempt(() => request('POST', path(key, '/remove'), { body: element }), 'removed')) input.focus();
  };
  const rows = new Rows(chips, (element) => element, (element) => {
    const node = h('span', { class: 'tag' }, said(element),
      isText && h('button', { type: 'button', 'aria-label': `Remove ${element}`, title: `Remove ${element}`, onclick: () => remove(element) }, '×'));
    return { node, show: () => {} };
  });
  const insert = async (event) => {
    event.preventDefault();
    const element = input.value;
    if (await attempt(() => request('POST', path(key, '/insert'), { body: element }), 'inserted') && input.value === element) input.value = '';
  };
  const show = (entry) => {
    if (!entry) return;
    isText = entry.value !== undefined;
    const elements = entry.value ?? entry.value_base64 ?? [];
    setText(size, plural(elements.length, 'element'));
    rows.show(elements.slice(0, SHOWN_MAX));
  };
  const node = h('div', { class: 'in' }, size, chips,
    h('form', { class: 'row', onsubmit: insert }, h('div', { class: 'grow' }, input), h('button', { type: 'submit', class: 'primary' }, 'Insert')));
  return { node, show, isDirty: () => input.value !== '' };
}

const EDITORS = { register: registerEditor, counter: counterEditor, set: setEditor };

async function remove(key) {
  const text = 'It is deleted on every node. What others write at the same time stays.';
  if (!(await confirm({ title: `Delete ${key}?`, text, action: 'Delete', isDanger: true }))) return;
  await attempt(() => request('DELETE', path(key)), `${key} deleted`);
}

// What a key holds, and what can be done with it. `show(entry)` again and again, null once it holds nothing.
function entryCard({ key, kind }, onClose) {
  const editor = EDITORS[kind](key);
  const [about, conflict] = [h('small'), h('p', { class: 'banner' })];
  const conflicts = h('div', { class: 'in hidden' }, conflict);
  const drop = h('button', { type: 'button', class: 'danger', onclick: () => remove(key) }, 'Delete…');
  const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: onClose }, '×');
  const node = h('section', { class: 'card', 'aria-label': 'Key' },
    h('header', null, h('h2', { class: 'mono' }, said(key)), about, drop, close), conflicts, editor.node);
  const show = (entry) => {
    editor.show(entry);
    drop.disabled = entry === null;
    if (entry === null) return;
    setText(about, `${kind}${entry.expires_at === null ? '' : `, expires in ${duration(entry.expires_at - Date.now() / 1000)}`}`);
    setText(conflict, `At the same time others wrote a ${entry.conflict.join(' and a ')}, which is not shown.`);
    conflicts.classList.toggle('hidden', entry.conflict.length === 0);
  };
  return { key, kind, node, show, isDirty: editor.isDirty };
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
  const about = line.event === 'put' ? textOf(line) : line.event;
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
  let detail = null;
  // The version of which the opened key was asked for last, and whether its answer is still to come.
  let askedVersion = '';
  let isAsking = false;

  const empty = () => {
    if (shelf.problem) return `Nothing to show: ${shelf.problem}.`;
    return search.value ? 'No key begins like that.' : 'The database is empty. Write the first key.';
  };
  const table = new Table({ label: 'Keys', name: 'entries', columns: COLUMNS, open: (entry) => choose(entry.key), empty,
    mark: (entry) => entry.key === opened, onSort: () => draw(), changedAt: (entry) => entry.changedAt });
  const showTable = () => table.show(table.sort([...shelf.entries.values()].sort(byBytes)));
  const draw = () => {
    isDue = false;
    showTable();
    const keys = plural(shelf.entries.size, 'key');
    const all = shelf.isCut ? `the first ${keys}; narrow the prefix` : keys;
    setText(found, shelf.problem && shelf.entries.size > 0 ? `${all}, not kept up: ${shelf.problem}` : all);
    drawFolders();
    history.replaceChildren(...shelf.history.map(historyRow));
    quiet.classList.toggle('hidden', shelf.history.length > 0);
    const now = shelf.entries.get(opened);
    if (opened !== null && (now?.version ?? '') !== askedVersion) look();
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
  const choose = (key) => {
    opened = key;
    showTable();
    look();
  };
  const close = () => {
    opened = null;
    detail = null;
    side.replaceChildren();
    showTable();
  };
  // Asks what the opened key holds, one question at a time.
  const look = async () => {
    if (isAsking) return;
    const key = opened;
    askedVersion = shelf.entries.get(key)?.version ?? '';
    isAsking = true;
    const found = await get(path(key)).catch((problem) => problem);
    isAsking = false;
    if (opened !== key) return void (opened !== null && look());
    if (found instanceof Error) fail(key, found);
    else showEntry(found);
    if ((shelf.entries.get(key)?.version ?? '') !== askedVersion) change();
  };
  const showEntry = (entry) => {
    if (detail?.key !== entry.key || detail.kind !== entry.kind) detail = entryCard(entry, close);
    detail.show(entry);
    if (detail.node.parentNode !== side) side.replaceChildren(detail.node);
  };
  const fail = (key, problem) => {
    const isGone = problem.status === 404;
    if (detail?.key === key && detail.isDirty()) return void (isGone && detail.show(null));
    detail = null;
    side.replaceChildren(h('p', { class: 'banner' }, said(key), `: ${isGone ? 'holds nothing any more' : problem.message}`));
  };

  let typing = null;
  search.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(() => shelf.open(search.value), 250); });
  const onHidden = () => (document.hidden ? shelf.close() : shelf.open(search.value));
  document.addEventListener('visibilitychange', onHidden);
  const timer = setInterval(showTable, 5_000);
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
