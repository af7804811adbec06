// One member: what it says of itself, why it is held for what it is, and what can be done about it.

import { encode, get, request, sendJson } from '../api.js';
import { attempt, confirm } from '../dialog.js';
import { Chart, dropOld } from '../chart.js';
import { card, h, said, setState, setText, state } from '../dom.js';
import { ago, clock, millis } from '../format.js';
import { poll } from '../live.js';
import { Happenings } from '../words.js';

const ASK_EVERY = 2_000;
// What is kept of round trips, and what is too far apart for a line between, in seconds.
const ROUND_TRIPS_SPAN = 300;
const ROUND_TRIPS_GAP = 10;
// Steps that changed its state.
const KEY_STEPS = new Set(['suspected', 'condemned', 'failed', 'refuted', 'joined', 'left', 'removed']);

function facts() {
  const rows = new Map();
  const node = h('dl', { class: 'facts' });
  const show = (name, text, isMono = false) => {
    if (!rows.has(name)) {
      const cell = h('dd', { class: isMono ? 'mono' : null }, said(''));
      rows.set(name, cell.firstChild);
      node.append(h('dt', null, name), cell);
    }
    setText(rows.get(name), text);
  };
  return { node, show };
}

function showFacts(fact, member) {
  fact.show('State', `${member.state} for ${ago(member.since)}`);
  fact.show('Address', member.address ?? 'unknown', true);
  fact.show('Id', member.id, true);
  fact.show('Incarnation', member.incarnation);
  fact.show('Round trip', member.self ? 'this agent itself' : millis(member.rtt));
  fact.show('Protocol', `${member.protocol.min} to ${member.protocol.max}`);
  fact.show('View', member.view);
}

// A moment beyond today's hours would read as one of today.
function nextTime(moment) {
  return moment === null || moment - Date.now() / 1000 > 3600 ? 'next' : clock(moment);
}

function drawStory(list, story) {
  const steps = story.steps.map((step) => h('li', { class: KEY_STEPS.has(step.what) ? 'key' : null },
    h('time', null, clock(step.at)), h('div', null, said(step.detail))));
  const next = h('li', { class: 'next' }, h('time', null, nextTime(story.next.at)),
    h('div', { class: 'muted' }, said(story.next.detail)));
  const quiet = steps.length === 0 ? [h('li', null, h('time', null, clock(story.since ?? 0)),
    h('div', null, `${story.state ?? 'gone'}, and nothing has happened to it since`))] : [];
  list.replaceChildren(...quiet, ...steps, next);
}

async function removeMember(member, go) {
  const isThere = member.state === 'alive' || member.state === 'suspect';
  const text = isThere
    ? `${member.name} is ${member.state}. Removing it strikes it from the list everywhere; if its process still runs it comes back with a higher incarnation.`
    : `${member.name} is struck from the list of every member. It may come back later.`;
  if (!(await confirm({ title: `Remove ${member.name}?`, text, action: 'Remove', isDanger: true }))) return;
  const path = `/v1/members/${encode(member.id)}${isThere ? '?force=true' : ''}`;
  const work = () => request('DELETE', path).catch((problem) => {
    throw problem.status === 404 ? new Error(`${member.name} is no longer listed: there is nothing to remove.`) : problem;
  });
  if (await attempt(work, `${member.name} was removed`)) go('#/cluster');
}

async function leave(info) {
  const text = `${info.name} says goodbye to the cluster, and its process ends. This page, which it serves, ends with it.`;
  if (!(await confirm({ title: 'Leave the cluster?', text, action: 'Leave', isDanger: true }))) return;
  await attempt(() => sendJson('POST', '/v1/leave'), 'the agent has left');
}

// Tags can be changed at the agent that they are about, and nowhere else.
function tagEditor() {
  const list = h('div', { class: 'tags' });
  const [key, value] = ['Key', 'Value'].map((name) => h('input', { 'aria-label': name, placeholder: name, required: name === 'Key', autocomplete: 'off' }));
  const change = async (changes) => attempt(() => sendJson('PATCH', '/v1/tags', changes), 'tags changed; the cluster is told');
  const add = async (event) => {
    event.preventDefault();
    const [name, text] = [key.value.trim(), value.value];
    const sure = await confirm({ title: `Set the tag ${name}?`, text: `It becomes ${text === '' ? 'a tag without a value' : text}. All members are told.`, action: 'Set' });
    if (!sure || !(await change({ [name]: text }))) return;
    key.value = '';
    value.value = '';
    key.focus();
  };
  const form = h('form', { class: 'row', onsubmit: add },
    h('div', { class: 'some' }, key), h('div', { class: 'some' }, value), h('button', { type: 'submit' }, 'Set'));
  const where = h('p', { class: 'muted' }, 'A member’s tags are changed at its own agent.');
  let drawn = '';
  const remove = async (name) => {
    const sure = await confirm({ title: `Remove the tag ${name}?`, text: 'All members are told.', action: 'Remove' });
    if (sure) await change({ [name]: null });
  };
  const show = (member) => {
    form.classList.toggle('hidden', !member.self);
    where.classList.toggle('hidden', member.self);
    const now = JSON.stringify([member.tags, member.self]);
    if (now === drawn) return;
    drawn = now;
    const pairs = Object.entries(member.tags);
    list.replaceChildren(...pairs.map(([name, text]) => h('span', { class: 'tag' }, said(text === '' ? name : `${name}=${text}`),
      member.self && h('button', { type: 'button', 'aria-label': `Remove ${name}`, title: `Remove ${name}`, onclick: () => remove(name) }, '×'))));
    if (pairs.length === 0) list.append(h('span', { class: 'muted' }, 'none'));
  };
  return { node: h('div', { class: 'in' }, list, form, where), show };
}

export function openMember({ store, rest: id, go, watch, onClose }) {
  const heading = h('h1', null, said(id));
  const standing = state('left');
  const fact = facts();
  const tags = tagEditor();
  const story = h('ol', { class: 'story in' }, h('li', null, h('div', { class: 'muted' }, 'Asking the agent…')));
  const happenings = new Happenings('Nothing has happened to it since this page was opened.');
  const chart = new Chart({ title: 'Round trips from this agent', lines: ['round trip'], format: millis, xFormat: clock, gap: ROUND_TRIPS_GAP });
  const gone = h('p', { class: 'banner hidden', role: 'status' });
  const remove = h('button', { type: 'button', class: 'danger', onclick: () => removeMember(known, go) }, 'Remove…');
  const goodbye = h('button', { type: 'button', class: 'danger', onclick: () => leave(store.info ?? known) }, 'Leave the cluster…');
  let known = null;

  const draw = () => {
    const member = store.members.get(id);
    gone.classList.toggle('hidden', Boolean(member) || store.members.size === 0);
    if (member) known = member;
    else setText(gone, known ? `${known.name} is no longer listed.` : `No member has the id ${id}.`);
    for (const button of [remove, goodbye]) button.disabled = !member;
    remove.classList.toggle('hidden', !known || known.self);
    goodbye.classList.toggle('hidden', !known?.self);
    if (!member) return;
    setState(standing, member.state);
    setText(heading.firstChild, member.name);
    document.title = `${member.name} · ${store.info?.name ?? 'rumor'}`;
    showFacts(fact, member);
    tags.show(member);
  };

  const trips = [];
  watch(['members'], draw);
  watch(['events'], () => happenings.show(store.events.filter((event) => event.member?.id === id)));
  const clockwork = setInterval(draw, 1_000);
  onClose(() => { clearInterval(clockwork); chart.close(); });
  poll({ store, onClose }, ASK_EVERY, () => Promise.all([askWhy(id, story), askRoundTrip(store, id, trips, chart)]));

  const back = h('a', { href: '#/cluster', class: 'muted' }, '← All members');
  const events = card('What happens', happenings.node);
  return [
    back, h('div', { class: 'head' }, heading, standing, h('div', { class: 'buttons' }, goodbye, remove)), gone,
    h('div', { class: 'columns' },
      h('div', { class: 'columns' }, card('Facts', h('div', { class: 'in' }, fact.node)), card('Tags', tags.node)),
      h('div', { class: 'columns' }, card('Why', story), chart.node, events)),
  ];
}

async function askWhy(id, list) {
  try {
    drawStory(list, await get(`/v1/why/${encode(id)}`));
  } catch (problem) {
    list.replaceChildren(h('li', null, h('div', { class: 'muted' }, problem.message)));
  }
}

async function askRoundTrip(store, id, trips, chart) {
  const member = store.members.get(id);
  chart.node.classList.toggle('hidden', !member || member.self || !['alive', 'suspect'].includes(member.state));
  if (!member || member.self || member.state !== 'alive') return;
  try {
    const { rtt } = await get(`/v1/rtt?to=${encode(id)}&timeout=1s`);
    trips.push([Date.now() / 1000, rtt]);
    dropOld(trips, ROUND_TRIPS_SPAN);
    chart.show([trips], trips[0][0], Math.max(trips.at(-1)[0], trips[0][0] + 30));
  } catch {
    // Not known between these two; the facts say what is known.
  }
}
