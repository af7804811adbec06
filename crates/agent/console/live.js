// The link to the agent: one stream of what happens to members, and numbers every few seconds.

import { follow, get, request } from './api.js';

const SAMPLE_EVERY = 2_000;
// Round trips and the agent's own facts change slowly.
const REFRESH_EVERY = 10_000;
// How soon it is looked again whether somebody looks.
const UNSEEN_WAIT = 500;
// Whole lists are asked for again only where they are small.
const REFRESHED_MAX = 500;
// A browser opens so few connections to one address that windows of one agent can use them up.
const CONNECT_MAX = 5_000;
const NO_CONNECTION = 'no answer yet: a browser opens six connections to one agent, so close other windows of this console';
// A page that nobody sees lets go: browsers grant few connections to one address.
const HIDDEN_MAX = 60_000;

export function connect(store, onLocked) {
  let stream = null;
  let hiddenTimer = null;
  let wasGone = false;

  const hear = (document) => {
    if (document.event === 'snapshot') {
      store.setMembers(document.members);
      refreshInfo(store);
    } else if (document.event === 'missed') {
      store.note({ event: 'missed', at: Date.now() / 1000, detail: `${document.missed} changes came too fast to be told` });
    } else if (document.member) {
      store.hear(document);
    }
  };

  const state = (word, problem) => {
    if (word === 'live') {
      store.setLink('live');
      if (wasGone) store.note({ event: 'back', at: Date.now() / 1000, detail: 'the agent is back' });
      wasGone = false;
    } else if (problem.status === 401) {
      store.setLink('locked', problem.message);
      stream = null;
      onLocked();
    } else if (problem.status >= 400 && problem.status < 500) {
      store.setLink('refused', problem.message);
    } else {
      if (!wasGone) store.note({ event: 'gone', at: Date.now() / 1000, detail: 'the agent does not answer' });
      wasGone = true;
      store.setLink('gone', problem.message);
    }
  };

  const open = () => {
    stream?.close();
    stream = follow(() => '/v1/events', { hear, state });
  };

  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        stream?.close();
        stream = null;
        store.note({ event: 'paused', at: Date.now() / 1000, detail: 'nobody looked at this page: it stopped listening' });
      }, HIDDEN_MAX);
    } else if (stream === null && store.link.state !== 'locked') {
      open();
    }
  });

  const page = { store, onClose: () => {} };
  poll(page, SAMPLE_EVERY, () => sample(store));
  poll(page, REFRESH_EVERY, () => refresh(store));
  open();
  setTimeout(() => { if (store.link.state === 'connecting') store.setLink('connecting', NO_CONNECTION); }, CONNECT_MAX);
  return { reopen: open };
}

// Does it now, and again and again until it is closed, while the agent is there and somebody looks. Gives what does it at once,
// after which the wait begins anew. What `work` does not catch is for the stream to say.
export function poll({ store, onClose }, wait, work) {
  let timer = null;
  // The number of the newest turn: only that one is followed by another.
  let newest = 0;
  let isClosed = false;
  const turn = async () => {
    if (isClosed) return;
    clearTimeout(timer);
    newest += 1;
    const mine = newest;
    const isSeen = !document.hidden && store.link.state === 'live';
    if (isSeen) await work().catch(() => {});
    if (!isClosed && mine === newest) timer = setTimeout(turn, isSeen ? wait : UNSEEN_WAIT);
  };
  onClose(() => { isClosed = true; clearTimeout(timer); });
  turn();
  return turn;
}

async function refreshInfo(store) {
  try {
    store.setInfo(await get('/v1/info'));
  } catch {
    // The stream says that the agent is gone.
  }
}

async function refresh(store) {
  await refreshInfo(store);
  if (store.members.size > REFRESHED_MAX) return;
  const take = store.awaitMembers();
  take(await get('/v1/members'));
}

async function sample(store) {
  const text = await (await request('GET', '/metrics')).text();
  store.addSample(readMetrics(text));
}

// `name{label="value"} number` as { 'name.value': number }.
export function readMetrics(text) {
  const values = {};
  for (const line of text.split('\n')) {
    const found = /^(\w+)(?:\{\w+="([^"]*)"\})? (\S+)$/.exec(line);
    if (found) values[found[2] === undefined ? found[1] : `${found[1]}.${found[2]}`] = Number(found[3]);
  }
  return values;
}
