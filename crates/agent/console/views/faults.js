// What `rumor dev` lets one do to its agents, and what comes of it: pause, kill, restart, lose, cut.

import { get, sendJson } from '../api.js';
import { attempt, confirm } from '../dialog.js';
import { card, h, said, setText, state } from '../dom.js';
import { ago } from '../format.js';
import { poll } from '../live.js';
import { Picture } from '../picture.js';
import { Happenings } from '../words.js';

const ASK_EVERY = 2_000;

// What the buttons of an agent do in each state of its process.
const ORDERS = {
  running: [['pause', 'Pause'], ['kill', 'Kill']],
  paused: [['resume', 'Resume'], ['kill', 'Kill']],
  ended: [['restart', 'Restart']],
};
const PROCESSES = { running: 'runs', paused: 'paused', ended: 'ended' };

async function give(order) {
  return attempt(() => sendJson('POST', '/v1/dev', order));
}

function line(node, store, order) {
  const seen = store.members.get(node.id);
  const held = state(seen?.state ?? 'left');
  if (!seen) setText(held.lastChild, 'not listed');
  const isOwn = node.id === store.info?.id;
  const run = async (word, button) => {
    const isLast = isOwn && word !== 'resume';
    const text = 'This page is served by that very agent: it says nothing more until somebody lets it go on, at the console of another one.';
    if (isLast && !(await confirm({ title: `${button.textContent} ${node.name}?`, text, action: button.textContent, isDanger: true }))) return;
    button.disabled = true;
    await order({ order: word, node: node.name });
    button.disabled = false;
  };
  const buttons = ORDERS[node.state].map(([word, label]) => {
    const button = h('button', { type: 'button', class: word === 'kill' ? 'danger' : null, 'aria-label': `${label} ${node.name}`, onclick: () => run(word, button) }, label);
    return button;
  });
  const name = node.http && !isOwn ? h('a', { href: `${node.http}/`, target: '_blank', rel: 'noopener' }, said(node.name)) : said(node.name);
  return h('tr', { 'data-node': node.name }, h('td', null, name, isOwn && h('small', null, ' this agent')), h('td', { class: 'muted' }, `${PROCESSES[node.state]}, ${node.pid}`),
    h('td', null, held), h('td', null, h('div', { class: 'buttons' }, buttons)));
}

function lossCard(order) {
  const range = h('input', { type: 'range', min: '0', max: '90', step: '1', value: '0', 'aria-label': 'Share of datagrams lost', class: 'grow' });
  const words = h('b', null, '0 %');
  range.addEventListener('input', () => setText(words, `${range.value} %`));
  range.addEventListener('change', () => order({ order: 'loss', share: Number(range.value) / 100 }));
  const show = (share) => {
    if (document.activeElement === range) return;
    range.value = Math.round(share * 100);
    setText(words, `${range.value} %`);
  };
  return { node: card('Loss', h('div', { class: 'in' }, h('p', null, words, ' of what each agent sends is lost.'), range)), show };
}

function cutCard(order) {
  const picks = h('div', { class: 'tags' });
  const words = h('p', { role: 'status' });
  let names = [];
  const cut = () => {
    const chosen = [...picks.querySelectorAll('input:checked')].map((box) => box.value);
    return order({ order: 'cut', groups: [chosen, names.filter((name) => !chosen.includes(name))] });
  };
  let drawn = '';
  const show = (dev) => {
    names = dev.nodes.map((node) => node.name);
    setText(words, dev.groups.length === 0 ? 'All agents hear each other. Choose one side of the cut:'
      : `Cut: ${dev.groups.map((group) => group.join(', ')).join(' apart from ')}.`);
    const now = names.join();
    if (now === drawn) return;
    drawn = now;
    const half = Math.floor(names.length / 2);
    picks.replaceChildren(...names.map((name, index) => h('label', { class: 'tag' }, h('input', { type: 'checkbox', value: name, checked: index < half }), said(name))));
  };
  const node = card('Cut', h('div', { class: 'in' }, words, picks, h('div', { class: 'buttons' },
    h('button', { type: 'button', onclick: () => order({ order: 'heal' }) }, 'Heal everything'), h('button', { type: 'button', class: 'primary', onclick: cut }, 'Cut in two'))));
  return { node, show };
}

export function openFaults({ store, go, watch, onClose }) {
  const body = h('tbody');
  const nothing = h('p', { class: 'note' }, 'Asking rumor dev…');
  const picture = new Picture({ label: 'Members', events: store.events, open: (member) => go(`#/member/${member.id}`), tell: (member) => `${member.state} for ${ago(member.since)}` });
  const happenings = new Happenings('Do something to an agent, and watch what the others make of it.');
  let dev = null;
  const draw = () => {
    if (!dev) return;
    nothing.classList.add('hidden');
    loss.show(dev.loss);
    cut.show(dev);
    const now = JSON.stringify([dev.nodes, dev.nodes.map((node) => store.members.get(node.id)?.state), store.info?.id]);
    if (now === drawn) return;
    drawn = now;
    const held = document.activeElement?.closest('tr[data-node]')?.dataset.node;
    body.replaceChildren(...dev.nodes.map((node) => line(node, store, order)));
    // Whoever works with the keyboard goes on where the button was.
    if (held) body.querySelector(`tr[data-node="${CSS.escape(held)}"] button`)?.focus();
  };
  let drawn = '';
  const order = async (what) => {
    const after = await give(what);
    if (after) dev = after;
    draw();
  };
  const loss = lossCard(order);
  const cut = cutCard(order);
  const ask = async () => {
    try {
      dev = await get('/v1/dev');
      draw();
    } catch (problem) {
      setText(nothing, `Nothing can be broken here: ${problem.message}.`);
      nothing.classList.remove('hidden');
    }
    // Without a rumor dev there are no controls, only the reason.
    for (const each of [loss.node, cut.node]) each.classList.toggle('hidden', dev === null);
  };
  watch(['members', 'info'], () => { picture.show(store.ordered()); draw(); });
  watch(['events'], () => {
    happenings.show(store.events);
    picture.hear(store.events);
  });
  onClose(() => picture.close());
  poll({ store, onClose }, ASK_EVERY, ask);
  const agents = card('Agents of this rumor dev', nothing, h('table', { class: 'plain agents' }, body));
  const happened = card('What happens', happenings.node);
  happened.classList.add('happened');
  return [
    h('div', { class: 'head' }, h('h1', null, 'Faults'), h('small', null, `as ${store.info?.name ?? 'this agent'} sees it`)),
    h('div', { class: 'columns wide' }, h('div', { class: 'columns' }, agents, loss.node, cut.node), h('div', { class: 'columns' }, card('Picture', picture.node), happened)),
  ];
}
