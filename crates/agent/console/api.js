// What the agent is asked, and how its answers are read.

import { passing } from './memory.js';

const TOKEN = 'rumor-token';
// The agent says something at least every 15 s, if only that it is there.
const SILENCE_MAX = 40_000;
const TIMEOUT = 15_000;

// What went wrong, in a sentence; `code` is the agent's, or `gone` where none answered.
export class Problem extends Error {
  constructor(status, code, detail, field = null) {
    super(detail);
    this.status = status;
    this.code = code;
    // Which value it is about, if one.
    this.field = field;
  }
}

// Kept for this tab until it is closed, and sent to this agent only.
export function token() {
  return passing.get(TOKEN) ?? '';
}

export function setToken(text) {
  if (text) passing.set(TOKEN, text);
  else passing.remove(TOKEN);
}

function headers(more) {
  const known = token();
  return known ? { authorization: `Bearer ${known}`, ...more } : { ...more };
}

async function problemOf(response) {
  const said = await response.json().catch(() => null);
  return new Problem(response.status, said?.code ?? 'unknown', said?.detail ?? `the agent answered ${response.status}`, said?.field ?? null);
}

async function send(path, options) {
  try {
    return await fetch(path, { cache: 'no-store', credentials: 'omit', redirect: 'error', ...options });
  } catch (error) {
    if (options.signal?.aborted && options.signal.reason?.name !== 'TimeoutError') throw error;
    throw new Problem(0, 'gone', 'the agent does not answer');
  }
}

export async function request(method, path, { body, headers: more, signal } = {}) {
  const limit = AbortSignal.timeout(TIMEOUT);
  const either = signal ? AbortSignal.any([signal, limit]) : limit;
  const response = await send(path, { method, body, headers: headers(more), signal: either });
  if (!response.ok) throw await problemOf(response);
  return response;
}

// The document of an answer, whose end may be missing.
export async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'gone', 'the agent’s answer broke off');
  }
}

// Whether to ask again is of no use: it was refused for what it is, not for the moment at which it came.
export function isRefused({ status }) {
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

export async function get(path, options) {
  return read(await request('GET', path, options));
}

export async function sendJson(method, path, document) {
  const options = document === undefined ? {} : {
    body: JSON.stringify(document), headers: { 'content-type': 'application/json' },
  };
  return read(await request(method, path, options));
}

export function encode(text) {
  return encodeURIComponent(text);
}

// Reads one stream of server-sent events to its end: `hear(document, name, id)` for each.
// Not an EventSource, which could send no token and would not notice a silent agent.
async function readStream(path, { method = 'GET', body, headers: more }, hear, signal) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MAX);
  try {
    const either = AbortSignal.any([signal, silence.signal]);
    const response = await send(path, { method, body, headers: headers({ accept: 'text/event-stream', ...more }), signal: either });
    if (!response.ok) throw await problemOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX);
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) hearBlock(block, hear);
    }
  } finally {
    clearTimeout(timer);
  }
}

function hearBlock(block, hear) {
  let name = 'message';
  let id = null;
  const data = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
    else if (line.startsWith('event:')) name = line.slice(6).trim();
    else if (line.startsWith('id:')) id = line.slice(3).trim();
  }
  if (data.length > 0) hear(JSON.parse(data.join('\n')), name, id);
}

// Has something done that tells of itself until it is done, or until the signal: then it is given up.
export async function perform(path, order, hear, signal) {
  const options = { method: 'POST', body: JSON.stringify(order), headers: { 'content-type': 'application/json' } };
  try {
    await readStream(path, options, hear, signal);
  } catch (error) {
    if (signal.aborted || error instanceof Problem) throw error;
    throw new Problem(0, 'gone', 'the agent does not answer');
  }
}

const WAIT_MIN = 300;
const WAIT_MAX = 8_000;

// Follows a stream until `close`, again and again. `path` is a function: it may say from where to go on.
// `state` hears `live` and `lost`; a refusal that will not pass by itself ends it.
export function follow(path, { hear, state = () => {} }) {
  const ending = new AbortController();
  const run = async () => {
    let wait = WAIT_MIN;
    while (!ending.signal.aborted) {
      try {
        let isFirst = true;
        await readStream(path(), {}, (document, name, id) => {
          if (isFirst) state('live', null);
          isFirst = false;
          wait = WAIT_MIN;
          hear(document, name, id);
        }, ending.signal);
        if (!ending.signal.aborted) state('lost', new Problem(0, 'gone', 'the agent ended the stream'));
      } catch (error) {
        if (ending.signal.aborted) return;
        const problem = error instanceof Problem ? error : new Problem(0, 'gone', 'the agent does not answer');
        state('lost', problem);
        if (isRefused(problem)) return;
      }
      await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random() / 2)));
      wait = Math.min(wait * 2, WAIT_MAX);
    }
  };
  run();
  return { close: () => ending.abort() };
}
