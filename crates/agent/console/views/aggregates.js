// What the values of all nodes are together: averages that nodes reach by talking, with no one in the middle.

import { encode, get, request } from '../api.js';
import { Chart, dropOld } from '../chart.js';
import { attempt, toast } from '../dialog.js';
import { card, field, h, setText } from '../dom.js';
import { bytes, clock, count, duration, plural, short } from '../format.js';
import { poll } from '../live.js';
import { lasting } from '../memory.js';

const ROWS = 'rumor-aggregates';
const ROWS_MAX = 12;
// An answer takes some rounds of gossip; asking costs the cluster bytes, so nobody asks when nobody looks.
const ASK_EVERY = 5_000;
// What is kept of answers, and what is too far apart for a line between, in seconds.
const POINTS_SPAN = 600;
const POINTS_GAP = 40;
const FUNCTIONS = ['avg', 'sum', 'min', 'max', 'count', 'quantile'];
const DEFAULT = [{ name: 'load', kind: 'avg' }, { name: 'memory', kind: 'sum' }, { name: 'memory', kind: 'max' }, { name: 'uptime', kind: 'min' }];
const FORMATS = { memory: bytes, uptime: duration };

function formatOf({ name, kind }) {
  return kind === 'count' ? (value) => count(Math.round(value)) : FORMATS[name] ?? short;
}

function titleOf({ name, kind, q }) {
  return kind === 'quantile' ? `${name}, ${q} quantile` : `${name}, ${kind}`;
}

function aggregate(row, drop) {
  const format = formatOf(row);
  const chart = new Chart({ title: titleOf(row), lines: [row.kind], format, gap: POINTS_GAP, xFormat: (at) => clock(at).slice(0, 8) });
  const about = h('small', { class: 'in', role: 'status' }, 'Asking the cluster…');
  chart.node.append(about);
  chart.node.querySelector('header').append(h('button', { type: 'button', class: 'icon', 'aria-label': `Remove ${titleOf(row)}`, onclick: drop }, '×'));
  const points = [];
  const ask = async () => {
    const part = row.kind === 'quantile' ? `&q=${encode(row.q)}` : '';
    try {
      const found = await get(`/v1/aggregates/${encode(row.name)}?function=${row.kind}${part}`);
      const members = found.members === null ? '' : `, ${plural(found.members, 'node')}`;
      const state = found.converged ? 'converged' : 'still converging';
      setText(about, found.value === null ? 'No agent has a gauge of that name.' : `${state} after ${found.rounds} rounds${members}, error about ${format(found.error)}`);
      if (found.value === null) return;
      points.push([Date.now() / 1000, found.value]);
      dropOld(points, POINTS_SPAN);
      chart.show([points], Math.min(points[0][0], points.at(-1)[0] - 60), points.at(-1)[0]);
    } catch (problem) {
      setText(about, problem.message);
    }
  };
  return { node: chart.node, ask, close: () => chart.close() };
}

function gaugeCard() {
  const name = h('input', { required: true, autocomplete: 'off', placeholder: 'temperature' });
  const value = h('input', { type: 'number', step: 'any', required: true });
  const set = async (event) => {
    event.preventDefault();
    await attempt(() => request('PUT', `/v1/gauges/${encode(name.value)}`, { body: value.value }), () => `this agent’s ${name.value} is ${value.value}`);
  };
  return card('Set a gauge of this agent', h('form', { class: 'row in', onsubmit: set },
    h('div', { class: 'grow' }, field('Gauge', name)), h('div', { class: 'some' }, field('Value', value)), h('button', { type: 'submit' }, 'Set')));
}

function stored() {
  try {
    return JSON.parse(lasting.get(ROWS)) ?? DEFAULT;
  } catch {
    return DEFAULT;
  }
}

export function openAggregates({ store, onClose }) {
  let rows = stored().slice(0, ROWS_MAX);
  let shown = [];
  const grid = h('div', { class: 'charts' });
  const build = () => {
    shown.forEach((each) => each.close());
    shown = rows.map((row) => aggregate(row, () => keep(rows.filter((other) => other !== row))));
    grid.replaceChildren(...shown.map((each) => each.node));
    if (shown.length === 0) grid.append(h('p', { class: 'note' }, 'Nothing is asked for. Add a gauge.'));
  };
  const keep = (list) => {
    rows = list;
    lasting.set(ROWS, JSON.stringify(rows));
    build();
    ask();
  };
  const name = h('input', { required: true, autocomplete: 'off', value: 'load', list: 'gauges' });
  const kind = h('select', null, FUNCTIONS.map((word) => h('option', { value: word }, word)));
  const q = h('input', { type: 'number', min: '0', max: '1', step: 'any', value: '0.9' });
  const part = h('div', { class: 'some hidden' }, field('Part', q));
  kind.addEventListener('change', () => part.classList.toggle('hidden', kind.value !== 'quantile'));
  const add = (event) => {
    event.preventDefault();
    if (rows.length >= ROWS_MAX) return void toast(`${ROWS_MAX} are shown at most: remove one first.`, true);
    return keep([...rows, { name: name.value.trim(), kind: kind.value, q: q.value }]);
  };
  const known = h('datalist', { id: 'gauges' }, ['load', 'memory', 'members', 'uptime'].map((word) => h('option', { value: word })));
  const adder = card('Ask for', h('form', { class: 'row in', onsubmit: add }, known,
    h('div', { class: 'grow' }, field('Gauge', name)), h('div', { class: 'some' }, field('Function', kind)), part, h('button', { type: 'submit', class: 'primary' }, 'Add')));
  onClose(() => shown.forEach((each) => each.close()));
  build();
  const ask = poll({ store, onClose }, ASK_EVERY, () => Promise.all(shown.map((each) => each.ask())));
  return [h('div', { class: 'head' }, h('h1', null, 'Aggregates'), h('small', null, 'asked every 5 s while you look')), grid, h('div', { class: 'columns' }, adder, gaugeCard())];
}
