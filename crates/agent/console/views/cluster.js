// All members: a picture, a table, and what happens to them.

import { card, h, icon, said, setState, setText, state } from '../dom.js';
import { ago, compareNames, count, millis, plural, tags } from '../format.js';
import { Picture } from '../picture.js';
import { Table } from '../table.js';
import { Happenings } from '../words.js';

const STATES = ['alive', 'suspect', 'dead', 'left', 'revoked'];
const RANKS = { suspect: 0, dead: 1, revoked: 2, left: 3, alive: 4 };
// Times move on, if nothing else does.
const REDRAW_EVERY = 1_000;
// A large list is put in order no more often than that, in milliseconds.
const LARGE = 500;
const LARGE_EVERY = 300;

const COLUMNS = [
  { key: 'name', label: 'Name', make: () => said(''), sort: (a, b) => compareNames(a.name, b.name),
    show: (cell, member) => { setText(cell.firstChild, member.name); cell.classList.toggle('self', member.self); } },
  { key: 'state', label: 'State', make: () => state('alive'), sort: (a, b) => RANKS[a.state] - RANKS[b.state],
    show: (cell, member) => setState(cell.firstChild, member.state) },
  { key: 'address', label: 'Address', class: 'fold mono', sort: (a, b) => compareNames(a.address ?? '', b.address ?? ''),
    show: (cell, member) => setText(cell, member.address ?? '–') },
  { key: 'rtt', label: 'RTT', class: 'right', sort: (a, b) => (a.rtt ?? Infinity) - (b.rtt ?? Infinity) || 0,
    show: (cell, member) => setText(cell, millis(member.rtt)) },
  { key: 'since', label: 'Since', class: 'right', sort: (a, b) => b.since - a.since,
    show: (cell, member) => setText(cell, ago(member.since)) },
  { key: 'incarnation', label: 'Incarn.', class: 'right more', sort: (a, b) => compareNames(a.incarnation, b.incarnation),
    show: (cell, member) => setText(cell, member.incarnation) },
  { key: 'tags', label: 'Tags', class: 'more', make: () => said('', { class: 'muted' }), sort: (a, b) => compareNames(tags(a.tags), tags(b.tags)),
    show: (cell, member) => setText(cell.firstChild, tags(member.tags)) },
];

// Every word must be found in the name, the id, the address, the state or a tag.
function finder(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return () => true;
  return (member) => {
    const all = `${member.name} ${member.id} ${member.address} ${member.state} ${tags(member.tags)}`.toLowerCase();
    return words.every((word) => all.includes(word));
  };
}

function filterChips(onChange) {
  const wanted = new Set();
  const chips = new Map(STATES.map((word) => {
    const number = h('b', null, '0');
    const chip = h('button', { type: 'button', class: 'chip', 'aria-pressed': 'false', 'data-state': word, onclick: () => {
      if (!wanted.delete(word)) wanted.add(word);
      chip.setAttribute('aria-pressed', wanted.has(word));
      onChange();
    } }, icon(`s-${word}`, { class: `shape ${word}` }), number, word);
    return [word, { chip, number }];
  }));
  // Few clusters revoke anybody.
  const show = (counts) => {
    for (const [word, { chip, number }] of chips) {
      setText(number, count(counts[word]));
      chip.classList.toggle('hidden', word === 'revoked' && counts[word] === 0);
    }
  };
  const node = h('div', { class: 'filters', role: 'group', 'aria-label': 'Show only' }, [...chips.values()].map(({ chip }) => chip));
  return { node, wanted, show };
}

export function openCluster({ store, go, watch, onClose }) {
  const open = (member) => go(`#/member/${member.id}`);
  const chips = filterChips(() => drawTable());
  const search = h('input', { type: 'search', placeholder: 'Name, address or tag', 'aria-label': 'Search members', oninput: () => drawTable() });
  const found = h('small', { role: 'status' });
  const table = new Table({
    label: 'Members', name: 'members', columns: COLUMNS, open, onSort: () => drawTable(),
    empty: () => emptyWords(store),
  });
  const picture = new Picture({
    label: 'Members', open, events: store.events,
    tell: (member) => (member.self ? `${member.state}, this agent` : `${member.state} for ${ago(member.since)}, ${millis(member.rtt)}`),
  });
  const happenings = new Happenings('Nothing has happened since this page was opened.');

  let drawnAt = 0;
  let later = null;
  const drawTable = () => {
    clearTimeout(later);
    const find = finder(search.value);
    const { wanted } = chips;
    const all = store.ordered();
    const shown = all.filter((member) => (wanted.size === 0 || wanted.has(member.state)) && find(member));
    setText(found, shown.length === all.length ? plural(all.length, 'member') : `${count(shown.length)} of ${plural(all.length, 'member')}`);
    table.show(table.sort(shown));
    drawnAt = performance.now();
  };
  const hint = h('small', { role: 'status' });
  const draw = () => {
    setText(hint, hintOf(store));
    chips.show(store.counts());
    picture.show(store.ordered());
    const wait = store.members.size > LARGE ? drawnAt + LARGE_EVERY - performance.now() : 0;
    clearTimeout(later);
    if (wait > 0) later = setTimeout(drawTable, wait);
    else drawTable();
  };
  const drawEvents = () => {
    happenings.show(store.events);
    picture.hear(store.events);
  };

  watch(['members', 'link', 'info'], draw);
  watch(['events'], drawEvents);
  const timer = setInterval(drawTable, REDRAW_EVERY);
  onClose(() => { clearInterval(timer); clearTimeout(later); picture.close(); table.close(); });

  const list = card('Members', table.node);
  list.classList.add('list');
  list.querySelector('header').append(found, h('div', { class: 'grow' }, search));
  const pictured = card('Picture', picture.node);
  pictured.classList.add('picture');
  const happened = card('What happens', happenings.node);
  happened.classList.add('happened');
  const head = h('div', { class: 'head' }, h('h1', null, 'Cluster'), hint, chips.node);
  return [head, h('div', { class: 'cluster' }, pictured, list, happened)];
}

// What one should know of the list: that nobody else is here, or that there are more than it shows.
function hintOf({ info, members }) {
  if (!info) return '';
  if (info.view === 'partial') {
    const others = [...members.values()].filter((member) => !member.self);
    const neighbours = others.filter((member) => member.view === 'active').length;
    return `a partial view: ${plural(neighbours, 'neighbour')} and ${count(others.length - neighbours)} that it has heard of, of about ${plural(info.size_estimate, 'node')}`;
  }
  return members.size === 1 ? `only this agent so far; others join with: rumor agent --join ${info.address}${info.sealed ? ' --key-file FILE, which holds the cluster’s key' : ''}` : '';
}

function emptyWords(store) {
  if (store.members.size > 0) return 'No member is like that. Change the search or the states shown.';
  if (store.link.state === 'connecting') return store.link.detail || 'Asking the agent…';
  if (store.link.state === 'live') return 'No members yet.';
  return `Nothing to show: ${store.link.detail || 'the agent does not answer'}.`;
}
