// What this agent sends, receives and does.

import { Chart } from '../chart.js';
import { card, h, setText } from '../dom.js';
import { bytes, clock, count, duration, percent, short } from '../format.js';

const rate = (number) => `${short(number)}/s`;
const byteRate = (number) => `${bytes(number)}/s`;

// What is shown as it is, and what by how fast it grows.
const value = (name) => ({ name, isRate: false });
const growth = (name) => ({ name, isRate: true });

const CHARTS = [
  { title: 'Bytes', lines: ['sent', 'received', 'limit'], of: [growth('rumor_sent_bytes_total'), growth('rumor_received_bytes_total'), value('rumor_bandwidth_limit')], format: byteRate },
  { title: 'Datagrams', lines: ['sent', 'received'], of: [growth('rumor_datagrams_sent_total'), growth('rumor_datagrams_received_total')], format: rate },
  { title: 'Updates that came in', lines: ['new', 'known already'], of: [growth('rumor_updates_received_total.new'), growth('rumor_updates_received_total.known')], format: rate },
  { title: 'Payloads of messages', lines: ['received'], of: [growth('rumor_payloads_received_total')], format: rate },
  { title: 'Suspicions and refutations', lines: ['raised', 'contradicted'], of: [growth('rumor_suspicions_total'), growth('rumor_refutations_total')], format: rate },
  { title: 'Processor', lines: ['of one core'], of: [growth('process_cpu_seconds_total')], format: percent },
  { title: 'Memory', lines: ['resident'], of: [value('process_resident_memory_bytes')], format: bytes },
  { title: 'Queues', lines: ['hot', 'streams', 'unsaved'], of: [value('rumor_held_entries.hot_updates'), value('rumor_held_entries.streams'), value('rumor_unsaved')], format: short },
];

const FIGURES = [
  ['Health score, 0 best', (now) => short(now.rumor_health_score ?? 0)],
  ['Neighbours', (now) => count(now.rumor_neighbours ?? 0)],
  ['Nodes, estimated', (now) => count(now.rumor_size_estimate ?? 0)],
  ['Sent in all', (now) => bytes(now.rumor_sent_bytes_total ?? 0)],
  ['Received in all', (now) => bytes(now.rumor_received_bytes_total ?? 0)],
  ['Database', (now) => bytes(now.rumor_data_bytes ?? 0)],
  ['Bandwidth limit', (now) => (now.rumor_bandwidth_limit ? byteRate(now.rumor_bandwidth_limit) : 'none')],
  ['Open files and sockets', (now) => count(now.process_open_fds ?? 0)],
];

const CAUSES = {
  foreign: 'of another cluster', malformed: 'not understood', oversized: 'too large', version: 'of another version',
  misdirected: 'meant for another node', unexpected: 'answers to no question', refused: 'refused by a limit',
  unproven: 'from addresses not proven', streams: 'too many streams', walks: 'walks that ended',
};

// Samples further apart than that, in seconds, have nothing between them that was measured.
const GAP = 10;

function series(samples, { name, isRate }) {
  // No limit is said as 0.
  const isSaid = (sample) => name in sample.values && !(name === 'rumor_bandwidth_limit' && sample.values[name] === 0);
  if (!isRate) return samples.filter(isSaid).map((sample) => [sample.at, sample.values[name]]);
  const points = [];
  for (let i = 1; i < samples.length; i += 1) {
    const [before, after] = [samples[i - 1], samples[i]];
    const grown = after.values[name] - before.values[name];
    // A counter that fell began anew with its process.
    if (grown >= 0 && after.at - before.at <= GAP) points.push([after.at, grown / (after.at - before.at)]);
  }
  return points;
}

function figures() {
  const cells = FIGURES.map(([label, read]) => ({ label, read, value: h('b', null, '–') }));
  const node = h('div', { class: 'figures live' }, cells.map((cell) => h('div', { class: 'figure' }, cell.value, h('span', null, cell.label))));
  return { node, show: (now) => cells.forEach((cell) => setText(cell.value, cell.read(now))) };
}

function dropped() {
  const body = h('tbody');
  const quiet = h('p', { class: 'note' }, 'Nothing was dropped.');
  const node = card('Dropped input', h('table', { class: 'plain' }, body), quiet);
  const show = (now) => {
    const causes = Object.entries(now).filter(([name, number]) => name.startsWith('rumor_dropped_total.') && number > 0);
    quiet.classList.toggle('hidden', causes.length > 0);
    body.replaceChildren(...causes.map(([name, number]) => {
      const cause = name.slice(name.indexOf('.') + 1);
      return h('tr', null, h('td', null, CAUSES[cause] ?? cause), h('td', { class: 'right' }, count(number)));
    }));
  };
  return { node, show };
}

export function openTraffic({ store, watch, onClose }) {
  const charts = CHARTS.map((each) => ({ ...each, chart: new Chart({ ...each, gap: GAP, xFormat: (at) => clock(at).slice(0, 8) }) }));
  const figure = figures();
  const drops = dropped();
  const span = h('small');
  const draw = () => {
    const { samples } = store;
    if (samples.length === 0) return;
    const [first, last] = [samples[0].at, samples.at(-1)];
    figure.show(last.values);
    drops.show(last.values);
    setText(span, `the last ${duration(last.at - first)}, every 2 s while you look; ${store.info?.name ?? 'this agent'} only`);
    // A minute at least, so that the first points do not race across.
    for (const { chart, of } of charts) chart.show(of.map((each) => series(samples, each)), Math.min(first, last.at - 60), last.at);
  };
  watch(['samples', 'info'], draw);
  onClose(() => charts.forEach(({ chart }) => chart.close()));
  return [
    h('div', { class: 'head' }, h('h1', null, 'Traffic'), span), figure.node,
    h('div', { class: 'charts' }, charts.map(({ chart }) => chart.node), drops.node),
  ];
}
