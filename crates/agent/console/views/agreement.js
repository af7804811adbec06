// What the voters agreed on: registers, and who holds which lock.

import { encode, get, request, sendJson } from '../api.js';
import { attempt, confirm, toast } from '../dialog.js';
import { card, field, h, said, setState, setText, state } from '../dom.js';
import { base64Words, count, duration, plural } from '../format.js';
import { poll } from '../live.js';
import { Rows } from '../rows.js';

const ASK_EVERY = 2_000;
// Values of so many registers are asked for, and so many locks are shown.
const REGISTERS_MAX = 100;
const LOCKS_MAX = 200;
// So many members are offered as voters.
const OFFERED_MAX = 50;
const VALUE_SHOWN = 200;

// How many must answer of so many.
const quorumOf = (voters) => Math.floor(voters / 2) + 1;

async function change(document, words) {
  return attempt(() => sendJson('POST', '/v1/agreement/voters', document), words);
}

function voterRow(first, isOwn, onRemove) {
  const [name, held, heard] = [said(''), state('alive'), h('td', { class: 'right muted spare' })];
  const button = h('button', { type: 'button', class: 'quiet', onclick: () => onRemove(voter) }, 'Remove…');
  let voter = first;
  const show = (now) => {
    voter = now;
    setText(name, voter.name);
    button.setAttribute('aria-label', `Remove ${voter.name}`);
    setState(held, voter.reachable ? 'alive' : 'dead');
    setText(held.lastChild, voter.reachable ? 'reachable' : 'not reachable');
    setText(heard, isOwn ? 'this agent' : voter.heard_ago === null ? 'never heard' : `heard ${duration(voter.heard_ago)} ago`);
  };
  const node = h('tr', null, h('td', { class: 'name' }, h('a', { href: `#/member/${first.id}` }, name)), h('td', null, held), heard, h('td', { class: 'right' }, button));
  return { node, show };
}

// How the first voters are named.
function foundingForm(store) {
  const picks = h('div', { class: 'tags' });
  const name = async (event) => {
    event.preventDefault();
    const voters = [...picks.querySelectorAll('input:checked')].map((box) => box.value);
    if (voters.length === 0) return void toast('Choose at least one member that is to vote.', true);
    const sure = await confirm({ title: `Let ${plural(voters.length, 'member')} vote?`, text: 'The first voters are named once in the life of a cluster. Each needs a data directory.', action: 'Name voters' });
    if (sure) await attempt(() => sendJson('POST', '/v1/agreement/init', { voters }), 'voters are named');
  };
  const node = h('form', { class: 'in hidden', onsubmit: name }, h('p', null, 'An odd number is best: 3 stand the loss of one, 5 of two.'), picks,
    h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Name voters…')));
  let offered = '';
  const offer = (isWanted) => {
    const alive = aliveMembers(store);
    node.classList.toggle('hidden', !isWanted || alive.length === 0);
    const now = alive.map((member) => member.id).join();
    if (now === offered) return;
    offered = now;
    picks.replaceChildren(...alive.map((member, index) => h('label', { class: 'tag' },
      h('input', { type: 'checkbox', value: member.id, checked: index < 3 }), said(member.name))));
  };
  return { node, offer };
}

function aliveMembers(store) {
  return store.ordered().filter((member) => member.state === 'alive').slice(0, OFFERED_MAX);
}

// How one more is let vote.
function addForm(store, status) {
  const pick = h('select', { 'aria-label': 'Member that is to vote' });
  const add = async (event) => {
    event.preventDefault();
    const name = pick.selectedOptions[0].textContent;
    const voters = status().voters.length + 1;
    const text = `${plural(voters, 'member')} will vote, of which ${quorumOf(voters)} must answer. It needs a data directory.`;
    const sure = await confirm({ title: `Let ${name} vote?`, text, action: 'Let it vote' });
    if (sure) await change({ add: [pick.value] }, `${name} votes`);
  };
  const node = h('form', { class: 'row in hidden', onsubmit: add }, h('div', { class: 'grow' }, pick), h('button', { type: 'submit' }, 'Let it vote…'));
  let offered = '';
  const offer = () => {
    const others = aliveMembers(store).filter((member) => !status().voters.some((voter) => voter.id === member.id));
    node.classList.toggle('hidden', status().voters.length === 0 || others.length === 0);
    const now = JSON.stringify(others.map((member) => [member.id, member.name]));
    if (now === offered) return;
    offered = now;
    pick.replaceChildren(...others.map((member) => h('option', { value: member.id }, member.name)));
  };
  return { node, offer };
}

// Who votes, or how voters are named where there are none.
function votersCard(store) {
  let last = { voters: [], foundings: [] };
  const words = h('p', { role: 'status' }, 'Asking the agent…');
  const remove = async (voter) => {
    const voters = last.voters.length - 1;
    const text = `${plural(voters, 'member')} will vote, of which ${quorumOf(voters)} must answer. ${voter.name} stays a member.`;
    const sure = await confirm({ title: `Let ${voter.name} vote no more?`, text, action: 'Remove', isDanger: true });
    if (sure) await change({ remove: [voter.id] }, `${voter.name} votes no more`);
  };
  const body = h('tbody');
  const rows = new Rows(body, (voter) => voter.id, (voter) => voterRow(voter, voter.id === store.info?.id, remove));
  const founding = foundingForm(store);
  const adding = addForm(store, () => last);
  const show = (status) => {
    last = status;
    const hasVoters = status.voters.length > 0;
    const stopped = status.stopped ? ' This agent votes no more: it has said more than its disk remembers.' : '';
    const changing = status.changing ? ' Voters are changing.' : '';
    setText(words, hasVoters ? `${plural(status.voters.length, 'voter')}, of which ${status.quorum} must answer; configuration ${status.epoch}.${changing}${stopped}`
      : `No register can be used: ${status.refused}.`);
    rows.show(status.voters);
    founding.offer(!hasVoters && status.foundings.every((each) => each.dropped));
    adding.offer();
  };
  const fail = (problem) => setText(words, `Who votes is not known: ${problem.message}.`);
  return { node: card('Voters', h('div', { class: 'in' }, words), h('table', { class: 'plain' }, body), adding.node, founding.node), show, fail };
}

function valueOf(held) {
  return held.value ?? (held.value_base64 ? base64Words(held.value_base64, VALUE_SHOWN) : '');
}

// A register by its name: read, set, and set only if nobody else did since it was read.
function registerEditor(onWritten) {
  const name = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'leader' });
  const value = h('input', { autocomplete: 'off', spellcheck: 'false' });
  const words = h('p', { class: 'muted', role: 'status' });
  const [box, still] = [h('input', { type: 'checkbox', checked: true }), h('span')];
  const only = h('label', { class: 'hidden check' }, box, still);
  let known = null;
  const know = (held) => {
    known = held;
    only.classList.toggle('hidden', held === null);
    if (held) setText(still, `Only if it is still version ${held.version}`);
  };
  const tell = (held) => {
    setText(words, `${held.register} holds ${held.value === undefined ? valueOf(held) : JSON.stringify(held.value)}, version ${held.version}: that is agreed on.`);
    know(held);
  };
  const read = async () => {
    const held = await attempt(() => get(`/v1/registers/${encode(name.value)}`));
    if (held) tell(held);
  };
  const write = async (event) => {
    event.preventDefault();
    const path = `/v1/registers/${encode(name.value)}`;
    const isSwap = known !== null && box.checked;
    const held = await attempt(async () => {
      if (isSwap) return sendJson('POST', `${path}/cas`, { version: known.version, value: value.value });
      return (await request('PUT', path, { body: value.value })).json();
    });
    if (!held) return;
    tell(held);
    onWritten();
  };
  name.addEventListener('input', () => know(null));
  const node = h('form', { class: 'in', onsubmit: write },
    h('div', { class: 'row' }, h('div', { class: 'some' }, field('Register', name)), h('div', { class: 'grow' }, field('Value', value)),
      h('button', { type: 'button', onclick: read }, 'Read'), h('button', { type: 'submit', class: 'primary' }, 'Set')), only, words);
  const edit = (register) => {
    name.value = register.register;
    value.value = register.value ?? '';
    know(register);
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
  const rows = new Rows(body, (register) => register.register, (first) => {
    const [value, version] = [said(''), h('td', { class: 'right muted spare' })];
    let register = first;
    const show = (now) => {
      register = now;
      setText(value, valueOf(now).slice(0, VALUE_SHOWN));
      setText(version, `version ${count(now.version)}`);
    };
    const node = h('tr', null, h('td', { class: 'mono' }, said(first.register)), h('td', { class: 'mono' }, value), version,
      h('td', { class: 'right' }, h('div', { class: 'buttons' },
        h('button', { type: 'button', class: 'quiet', 'aria-label': `Edit ${first.register}`, onclick: () => editor.edit(register) }, 'Edit'),
        h('button', { type: 'button', class: 'quiet', 'aria-label': `Delete ${first.register}…`, onclick: () => remove(first.register) }, 'Delete…'))));
    return { node, show };
  });
  const ask = async () => {
    const names = await get('/v1/registers');
    const asked = names.slice(0, REGISTERS_MAX).map((name) => get(`/v1/registers/${encode(name)}?stale=true`).catch(() => null));
    const held = (await Promise.all(asked)).filter(Boolean);
    setText(found, names.length > REGISTERS_MAX ? `the first ${REGISTERS_MAX} of ${count(names.length)}` : 'as this agent has heard');
    nothing.classList.toggle('hidden', held.length > 0);
    rows.show(held);
  };
  const node = card('Registers', editor.node, nothing, h('table', { class: 'plain registers' }, body));
  node.querySelector('header').append(found);
  return { node, ask };
}

function lockRow(first) {
  const [holder, until] = [said(''), h('td', { class: 'muted' })];
  const show = (lock) => {
    setText(holder, lock.holder);
    const left = lock.lease_until === null ? null : lock.lease_until - Date.now() / 1000;
    // Of one that was killed nobody else gives it back: the next one takes it.
    const held = left === null ? `for ${duration(lock.ttl)} at a time` : left < 0 ? `ran out ${duration(-left)} ago` : `for ${duration(left)} unless renewed`;
    setText(until, `token ${lock.token}, ${held}`);
  };
  return { node: h('tr', null, h('td', { class: 'mono name' }, said(first.name)), h('td', { class: 'name' }, holder), until), show };
}

function locksCard() {
  const body = h('tbody');
  const rows = new Rows(body, (lock) => lock.name, lockRow);
  const nothing = h('p', { class: 'note' }, 'Nobody holds a lock, as far as this agent has heard.');
  const found = h('small');
  const ask = async () => {
    const locks = await get('/v1/locks');
    setText(found, locks.length > LOCKS_MAX ? `the first ${LOCKS_MAX} of ${count(locks.length)}` : plural(locks.length, 'lock'));
    rows.show(locks.slice(0, LOCKS_MAX));
    nothing.classList.toggle('hidden', locks.length > 0);
  };
  const node = card('Locks', nothing, h('table', { class: 'plain' }, body),
    h('div', { class: 'in muted' }, h('p', null, 'Take one on the command line: ', h('code', null, 'rumor lock NAME -- COMMAND'))));
  node.querySelector('header').append(found);
  return { node, ask };
}

export function openAgreement({ store, onClose }) {
  const voters = votersCard(store);
  const registers = registersCard();
  const locks = locksCard();
  poll({ store, onClose }, ASK_EVERY, () => {
    const status = get('/v1/agreement').then(voters.show, voters.fail);
    return Promise.allSettled([status, registers.ask(), locks.ask()]);
  });
  return [
    h('div', { class: 'head' }, h('h1', null, 'Agreement')),
    h('div', { class: 'columns wide live' }, h('div', { class: 'columns' }, registers.node), h('div', { class: 'columns' }, voters.node, locks.node)),
  ];
}
