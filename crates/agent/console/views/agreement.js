// What the voters agreed on: registers, and who holds which lock.

import { encode, get, request, sendJson } from '../api.js';
import { attempt, confirm } from '../dialog.js';
import { card, field, h, said, setText, state } from '../dom.js';
import { count, duration, plural } from '../format.js';

const ASK_EVERY = 2_000;
// Values of so many registers are asked for, and so many locks are looked at.
const REGISTERS_MAX = 100;
const LOCKS_MAX = 12;
const LOCKS = 'rumor-locks';
const VALUE_SHOWN = 200;

function voterRow(voter) {
  const heard = voter.heard_ago === null ? 'never heard' : `heard ${duration(voter.heard_ago)} ago`;
  return h('tr', null, h('td', null, h('a', { href: `#/member/${voter.id}` }, said(voter.name))),
    h('td', null, state(voter.reachable ? 'alive' : 'dead')), h('td', { class: 'right muted' }, heard));
}

// Who votes, or how voters are named where there are none.
function votersCard(store) {
  const words = h('p', { role: 'status' });
  const body = h('tbody');
  const picks = h('div', { class: 'tags' });
  const name = async (event) => {
    event.preventDefault();
    const voters = [...picks.querySelectorAll('input:checked')].map((box) => box.value);
    const sure = await confirm({ title: `Let ${plural(voters.length, 'member')} vote?`, text: 'The first voters are named once in the life of a cluster. Each needs a data directory.', action: 'Name voters' });
    if (sure) await attempt(() => sendJson('POST', '/v1/agreement/init', { voters }), 'voters are named');
  };
  const form = h('form', { class: 'in hidden', onsubmit: name }, h('p', null, 'An odd number is best: 3 stand the loss of one, 5 of two.'), picks,
    h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Name voters…')));
  let offered = '';
  const offer = () => {
    const alive = store.ordered().filter((member) => member.state === 'alive').slice(0, 50);
    const now = alive.map((member) => member.id).join();
    if (now === offered) return;
    offered = now;
    picks.replaceChildren(...alive.map((member, index) => h('label', { class: 'tag' },
      h('input', { type: 'checkbox', value: member.id, checked: index < 3 }), said(member.name))));
  };
  const show = (status) => {
    const hasVoters = status.voters.length > 0;
    const stopped = status.stopped ? ' This agent votes no more: it has said more than its disk remembers.' : '';
    const changing = status.changing ? ' Voters are changing.' : '';
    setText(words, hasVoters ? `${plural(status.voters.length, 'voter')}, of which ${status.quorum} must answer; configuration ${status.epoch}.${changing}${stopped}`
      : `No register can be used: ${status.refused}.`);
    body.replaceChildren(...status.voters.map(voterRow));
    form.classList.toggle('hidden', hasVoters || status.foundings.some((founding) => !founding.dropped));
    offer();
  };
  return { node: card('Voters', h('div', { class: 'in' }, words), h('table', { class: 'plain' }, body), form), show };
}

function registerEditor(onWritten) {
  const name = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'leader' });
  const value = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const said = h('p', { class: 'muted', role: 'status' });
  const tell = (held) => setText(said, `${held.register} holds ${JSON.stringify(held.value ?? held.value_base64)}, version ${held.version}: that is agreed on.`);
  const read = async () => {
    const held = await attempt(() => get(`/v1/registers/${encode(name.value)}`));
    if (held) tell(held);
  };
  const write = async (event) => {
    event.preventDefault();
    const held = await attempt(async () => (await request('PUT', `/v1/registers/${encode(name.value)}`, { body: value.value })).json());
    if (!held) return;
    tell(held);
    onWritten();
  };
  const node = h('form', { class: 'in', onsubmit: write },
    h('div', { class: 'row' }, h('div', { class: 'some' }, field('Register', name)), h('div', { class: 'grow' }, field('Value', value)),
      h('button', { type: 'button', onclick: read }, 'Read'), h('button', { type: 'submit', class: 'primary' }, 'Set')), said);
  const edit = (register) => {
    name.value = register.register;
    value.value = register.value ?? '';
    value.focus();
  };
  return { node, edit };
}

function registersCard() {
  const found = h('small');
  const body = h('tbody');
  const nothing = h('p', { class: 'note' }, 'This agent has heard of no register.');
  const editor = registerEditor(() => ask());
  const remove = async (name) => {
    const sure = await confirm({ title: `Delete ${name}?`, text: 'The voters agree that it holds nothing.', action: 'Delete', isDanger: true });
    if (sure && await attempt(() => request('DELETE', `/v1/registers/${encode(name)}`), `${name} deleted`)) ask();
  };
  const row = (register) => h('tr', null, h('td', { class: 'mono' }, said(register.register)),
    h('td', { class: 'mono' }, said((register.value ?? register.value_base64 ?? '').slice(0, VALUE_SHOWN))), h('td', { class: 'right muted' }, `version ${count(register.version)}`),
    h('td', { class: 'right' }, h('button', { type: 'button', class: 'quiet', onclick: () => editor.edit(register) }, 'Edit'),
      h('button', { type: 'button', class: 'quiet', onclick: () => remove(register.register) }, 'Delete…')));
  let drawn = '';
  const ask = async () => {
    const names = await get('/v1/registers');
    const asked = names.slice(0, REGISTERS_MAX).map((name) => get(`/v1/registers/${encode(name)}?stale=true`).catch(() => null));
    const held = (await Promise.all(asked)).filter(Boolean);
    setText(found, names.length > REGISTERS_MAX ? `the first ${REGISTERS_MAX} of ${count(names.length)}` : 'as this agent has heard');
    nothing.classList.toggle('hidden', held.length > 0);
    const now = JSON.stringify(held);
    if (now === drawn) return;
    drawn = now;
    body.replaceChildren(...held.map(row));
  };
  const node = card('Registers', editor.node, nothing, h('table', { class: 'plain' }, body));
  node.querySelector('header').append(found);
  return { node, ask };
}

// Nothing lists locks: those that somebody named here are looked at.
function locksCard() {
  let names = JSON.parse(localStorage.getItem(LOCKS) ?? '["deploy"]');
  const body = h('tbody');
  const input = h('input', { required: true, autocomplete: 'off', placeholder: 'Name of a lock', 'aria-label': 'Name of a lock' });
  const keep = (list) => {
    names = [...new Set(list)].slice(-LOCKS_MAX);
    localStorage.setItem(LOCKS, JSON.stringify(names));
    ask();
  };
  const add = (event) => {
    event.preventDefault();
    keep([...names, input.value.trim()]);
    input.value = '';
  };
  const row = (name, lock) => h('tr', null, h('td', { class: 'mono' }, said(name)), h('td', null, lock.holder === null ? h('span', { class: 'muted' }, 'free') : said(lock.holder)),
    h('td', { class: 'right muted' }, lock.token === undefined ? '' : `token ${lock.token}`),
    h('td', { class: 'right' }, h('button', { type: 'button', class: 'icon', 'aria-label': `Forget ${name}`, onclick: () => keep(names.filter((other) => other !== name)) }, '×')));
  const ask = async () => {
    const locks = await Promise.all(names.map((name) => get(`/v1/locks/${encode(name)}`).catch((problem) => ({ holder: problem.message }))));
    body.replaceChildren(...names.map((name, index) => row(name, locks[index])));
  };
  const node = card('Locks', h('table', { class: 'plain' }, body),
    h('form', { class: 'row in', onsubmit: add }, h('div', { class: 'grow' }, input), h('button', { type: 'submit' }, 'Look at it')),
    h('div', { class: 'in muted' }, h('p', null, 'Take one on the command line: ', h('code', null, 'rumor lock NAME -- COMMAND'))));
  return { node, ask };
}

export function openAgreement({ store, onClose }) {
  const voters = votersCard(store);
  const registers = registersCard();
  const locks = locksCard();
  let timer = null;
  let isClosed = false;
  const ask = async () => {
    if (!document.hidden && store.link.state === 'live') {
      const status = get('/v1/agreement').then(voters.show);
      await Promise.allSettled([status, registers.ask(), locks.ask()]);
    }
    if (!isClosed) timer = setTimeout(ask, ASK_EVERY);
  };
  onClose(() => { isClosed = true; clearTimeout(timer); });
  ask();
  return [
    h('div', { class: 'head' }, h('h1', null, 'Agreement')),
    h('div', { class: 'columns wide live' }, h('div', { class: 'columns' }, registers.node), h('div', { class: 'columns' }, voters.node, locks.node)),
  ];
}
