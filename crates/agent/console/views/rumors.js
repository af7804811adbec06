// Messages: publish one, watch it spread hop by hop, and hear what others say.

import { encode, follow, get, request } from '../api.js';
import { Chart } from '../chart.js';
import { attempt } from '../dialog.js';
import { card, field, h, said, setText } from '../dom.js';
import { ago, base64Words, bytes, clock, count, millis, percent, plural } from '../format.js';
import { poll } from '../live.js';
import { lasting } from '../memory.js';
import { Picture } from '../picture.js';
import { Rows } from '../rows.js';
import { informedByHop, measuredByHop } from '../theory.js';

const TOPIC = 'rumor-topic';
const HISTORY = 50;
const MESSAGES_MAX = 300;
const PAYLOAD_SHOWN = 600;
const BASE64_SHOWN = 60;
const TOPICS_MAX = 40;
const ASK_EVERY = 2_000;
// How long the picture takes to tell what took milliseconds.
const PLAY_FOR = 2_200;
// The message may still be on its way: the trace is asked for again.
const LOOK_AGAIN = 300;
const LOOKS_MAX = 12;
const HOPS_SHOWN = 6;

function payloadOf(message) {
  if (message.payload !== undefined) return said(message.payload.slice(0, PAYLOAD_SHOWN));
  return h('span', { class: 'muted' }, base64Words(message.payload_base64 ?? '', BASE64_SHOWN));
}

function messageLine(message, choose) {
  if (message.missed !== undefined) {
    return h('li', { class: 'gap' }, plural(message.missed, 'message'), ' of ', said(message.origin), ' missed');
  }
  const button = h('button', { type: 'button', onclick: () => choose(message, button) },
    h('span', null, said(message.origin), h('small', null, ` :${message.sequence}`)),
    h('small', null, clock(message.published_at)),
    h('span', { class: 'payload' }, payloadOf(message)));
  return h('li', null, button);
}

// The live tail of one topic, the newest first.
function tail(choose) {
  const list = h('ol', { class: 'messages' });
  const nothing = h('p', { class: 'note' });
  const status = h('small', { role: 'status' });
  let stream = null;
  let queue = [];
  let isDue = false;
  const flush = () => {
    isDue = false;
    list.prepend(...queue.reverse().map((message) => messageLine(message, choose)));
    queue = [];
    while (list.children.length > MESSAGES_MAX) list.lastChild.remove();
    nothing.classList.toggle('hidden', list.children.length > 0);
  };
  const hear = (message, name) => {
    if (name === 'subscribed') {
      list.replaceChildren();
      queue = [];
      nothing.classList.remove('hidden');
      return;
    }
    queue.push(message);
    if (queue.length > MESSAGES_MAX) queue.shift();
    if (!isDue) requestAnimationFrame(flush);
    isDue = true;
  };
  const open = (topic) => {
    stream?.close();
    list.replaceChildren();
    nothing.replaceChildren('Nothing was said on ', said(topic), ' yet. Publish something.');
    nothing.classList.remove('hidden');
    const state = (word, problem) => setText(status, word === 'live' ? 'listening' : problem.message);
    stream = follow(() => `/v1/topics/${encode(topic)}?history=${HISTORY}`, { hear, state });
  };
  const close = () => stream?.close();
  return { list, node: h('div', { class: 'scroll', tabindex: '0', 'aria-label': 'Messages' }, nothing, list), status, open, close };
}

// The topics of which this agent has messages, those spoken on last first.
function topics(choose) {
  const list = h('div', { class: 'filters', role: 'group', 'aria-label': 'Topics' });
  const inside = h('div', { class: 'in hidden' }, list);
  const known = h('datalist', { id: 'topics' });
  const nothing = h('p', { class: 'note' }, 'This agent has no messages yet.');
  const rows = new Rows(list, (topic) => topic.topic, ({ topic }) => {
    const [messages, about] = [h('b'), h('small')];
    const node = h('button', { type: 'button', class: 'chip', onclick: () => choose(topic) }, said(topic), messages, about);
    const show = (now) => {
      setText(messages, count(now.messages));
      setText(about, `${bytes(now.bytes)}, ${ago(now.last)} ago`);
      node.title = `${plural(now.messages, 'message')}, ${bytes(now.bytes)}, the last ${ago(now.last)} ago`;
      node.setAttribute('aria-pressed', topic === heard);
    };
    return { node, show };
  });
  let heard = '';
  let found = [];
  const draw = () => rows.show(found);
  const ask = async () => {
    found = await get(`/v1/topics?limit=${TOPICS_MAX}`);
    // Buttons that change places cannot be hit: they stay in the order of names.
    draw();
    nothing.classList.toggle('hidden', found.length > 0);
    inside.classList.toggle('hidden', found.length === 0);
    known.replaceChildren(...found.map(({ topic }) => h('option', { value: topic })));
  };
  const mark = (topic) => {
    heard = topic;
    draw();
  };
  return { node: card('Topics', nothing, inside, known), ask, mark };
}

function curves() {
  const byHop = new Chart({ title: 'Who had it, by hop', lines: ['measured', 'theory'], format: percent, xFormat: (hop) => `hop ${Math.round(hop)}`, isShare: true });
  const byTime = new Chart({ title: 'Who had it, by time', lines: ['measured'], format: percent, xFormat: millis, isShare: true, steps: true });
  const note = h('small');
  byHop.node.querySelector('header').append(note);
  const show = (trace, info) => {
    const { steps } = trace;
    const members = trace.members ?? steps.length;
    const measured = measuredByHop(steps, members).map((share, hop) => [hop, share]);
    const isKnown = info?.view === 'full' && info.fanout > 0 && info.mode !== 'pull';
    const theory = isKnown ? informedByHop(members, info.fanout).map((share, hop) => [hop, share]) : [];
    setText(note, isKnown ? `theory: each tells ${info.fanout} others once` : '');
    byHop.show([measured, theory], 0, Math.max(1, measured.length - 1, theory.length - 1));
    const start = Math.min(...steps.map((step) => step.at));
    const times = steps.map((step) => step.at - start).sort((a, b) => a - b);
    byTime.show([times.map((at, index) => [at, (index + 1) / Math.max(1, members)])], 0, Math.max(times.at(-1) * 1.1, 1e-4));
  };
  return { nodes: [byHop.node, byTime.node], show, close: () => { byHop.close(); byTime.close(); } };
}

function legend() {
  const hops = Array.from({ length: HOPS_SHOWN }, (_, hop) => {
    return h('span', null, h('i', { class: `dot hop${hop}` }), hop === 0 ? 'origin' : hop === HOPS_SHOWN - 1 ? `hop ${hop} and more` : `hop ${hop}`);
  });
  const show = (last) => hops.forEach((each, hop) => each.classList.toggle('hidden', hop > last));
  show(-1);
  return { node: h('div', { class: 'legend' }, hops), show };
}

// Times of a trace are by each node's own clock: none is earlier than the node that told it.
function timeline(trace) {
  const start = trace.steps.find((step) => step.hop === 0)?.at ?? trace.steps[0].at;
  const steps = new Map();
  for (const step of trace.steps) {
    const told = steps.get(step.from)?.at ?? 0;
    steps.set(step.node, { hop: step.hop, from: step.from, at: Math.max(told, step.at - start) });
  }
  return { steps, took: Math.max(1e-6, ...[...steps.values()].map((step) => step.at)) };
}

function summary(trace) {
  const { reached, members, estimated, payloads } = trace;
  const took = timeline(trace).took;
  const who = members === null ? `${reached} have it` : estimated ? `${reached} of about ${members} have it`
    : reached >= members ? `all ${members} have it` : `${reached} of ${members} have it`;
  return `${who} after ${millis(took)}; ${plural(payloads, 'payload')} for ${plural(Math.max(0, reached - 1), 'receiver')}`;
}

// The picture of one message on its way, and everything about it.
function spread(store) {
  const picture = new Picture({ label: 'Who has the message', open: () => {}, tell: (member) => tellStep(member), isTall: true });
  const words = h('p', { role: 'status' }, 'Publish a message, or choose one: the picture shows who told whom.');
  const again = h('button', { type: 'button', class: 'hidden', onclick: () => play() }, 'Play again');
  const hops = legend();
  const curve = curves();
  let current = null;
  let seen = 0;
  const tellStep = (member) => {
    if (!current) return member.state;
    const step = timeline(current).steps.get(member.name);
    if (!step) return 'does not have it, or did not say so';
    return step.hop === 0 ? 'published it' : `had it ${millis(step.at)} later, from ${step.from}`;
  };
  const play = () => {
    const { steps, took } = timeline(current);
    picture.play({ steps, took, begun: performance.now(), playFor: PLAY_FOR });
  };
  const show = (trace) => {
    const isNew = current === null || trace.steps.length !== current.steps.length;
    current = trace;
    setText(words, summary(trace));
    again.classList.remove('hidden');
    hops.show(Math.max(...trace.steps.map((step) => step.hop)));
    curve.show(trace, store.info);
    if (isNew) play();
  };
  // Asks for the trace until all have the message.
  const follow = async ({ topic, origin, sequence }) => {
    seen += 1;
    const turn = seen;
    current = null;
    setText(words, 'Asking who has it…');
    for (let look = 0; look < LOOKS_MAX && turn === seen; look += 1) {
      try {
        const trace = await get(`/v1/topics/${encode(topic)}/${encode(origin)}/${encode(sequence)}/trace`);
        if (turn !== seen) return;
        show(trace);
        if (trace.members === null || trace.reached >= trace.members) return;
      } catch (problem) {
        if (turn === seen) setText(words, `No trace: ${problem.message}. Nodes keep it for their last 1,000 messages.`);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
  };
  const close = () => {
    seen += 1;
    picture.close();
    curve.close();
  };
  return { picture, words, again, hops, curve, follow, close };
}

export function openRumors({ store, watch, onClose }) {
  const one = spread(store);
  const marked = (message, button) => {
    for (const other of messages.list.querySelectorAll('[aria-current]')) other.removeAttribute('aria-current');
    button?.setAttribute('aria-current', 'true');
    one.follow({ topic: message.topic, origin: message.origin_id, sequence: message.sequence });
  };
  const messages = tail(marked);
  const topic = h('input', { value: lasting.get(TOPIC) ?? 'news', required: true, maxlength: '255', autocomplete: 'off', spellcheck: 'false', list: 'topics' });
  const text = h('input', { placeholder: 'hello, rumor', autocomplete: 'off' });
  let heard = '';
  const listen = () => {
    const wanted = topic.value.trim();
    if (wanted === '' || wanted === heard) return;
    heard = wanted;
    lasting.set(TOPIC, wanted);
    messages.open(wanted);
    known.mark(wanted);
  };
  const known = topics((name) => {
    topic.value = name;
    listen();
  });
  const publish = async (event) => {
    event.preventDefault();
    listen();
    const body = text.value;
    const done = await attempt(async () => (await request('POST', `/v1/topics/${encode(heard)}`, { body })).json());
    if (!done) return;
    if (text.value === body) text.value = '';
    offer();
    // The button has nothing to do until more is written.
    if (button.disabled) text.focus();
    known.ask().catch(() => {});
    one.follow(done);
  };
  topic.addEventListener('change', listen);
  const button = h('button', { type: 'submit', class: 'primary' }, 'Publish');
  const offer = () => { button.disabled = text.value === ''; };
  text.addEventListener('input', offer);
  offer();
  const form = h('form', { class: 'row in', onsubmit: publish },
    h('div', { class: 'some' }, field('Topic', topic)), h('div', { class: 'grow' }, field('Message', text)), button);
  const say = card('Publish', form);
  const pictured = card('How it spread', h('div', { class: 'in' }, one.words, one.hops.node), one.picture.node);
  pictured.classList.add('picture');
  pictured.querySelector('header').append(one.again);
  const tailed = card('Messages', messages.node);
  tailed.classList.add('tail');
  tailed.querySelector('header').append(messages.status);
  const charts = h('div', { class: 'curves' }, one.curve.nodes);

  watch(['members'], () => one.picture.show(store.ordered().filter((member) => member.state !== 'left')));
  const onHidden = () => (document.hidden ? messages.close() : messages.open(heard));
  document.addEventListener('visibilitychange', onHidden);
  onClose(() => { document.removeEventListener('visibilitychange', onHidden); messages.close(); one.close(); });
  listen();
  poll({ store, onClose }, ASK_EVERY, known.ask);
  return [h('div', { class: 'head' }, h('h1', null, 'Rumors')), h('div', { class: 'rumors' }, h('div', null, say, known.node, pictured), h('div', null, charts, tailed))];
}
