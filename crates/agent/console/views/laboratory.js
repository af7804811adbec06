// The laboratory: the spread model and the virtual network, run by this agent while the page looks on.

import { perform } from '../api.js';
import { Chart } from '../chart.js';
import { toast } from '../dialog.js';
import { card, field, h, setText } from '../dom.js';
import { bytes, count, millis, percent, plural, short } from '../format.js';

// Times of the virtual network go over several powers of ten: they are drawn by their logarithm.
const SOONEST = 1e-4;
const logarithm = (points) => points.map(([seconds, share]) => [Math.log10(Math.max(SOONEST, seconds)), share]);
const byIndex = (shares) => shares.map((share, index) => [index, share]);

const MODES = ['push-pull', 'push', 'pull'];
const RULES = ['never', 'feedback-counter:2', 'feedback-coin:2', 'blind-counter:2', 'blind-coin:2', 'forward-once', 'median-counter:3', 'transmit-limit:4'];
const FAULTS = { none: 'none', crash: 'crash', partition: 'cut off', churn: 'churn' };

// The parameters of each model by the names of their flags; what `flags` makes of them is what is asked for.
const MODELS = {
  spread: {
    title: 'Spread model',
    about: 'A textbook epidemic on bare arrays: one node knows a rumor, and calls partners at random.',
    fields: [
      { key: 'nodes', label: 'Nodes', value: '1000' },
      { key: 'mode', label: 'Mode', words: MODES },
      { key: 'fanout', label: 'Fanout', value: '1' },
      { key: 'loss', label: 'Loss, a share', value: '0' },
      { key: 'stop', label: 'Loses interest', value: 'never', suggested: RULES },
      { key: 'timing', label: 'Calls', words: ['rounds', 'async'] },
      { key: 'runs', label: 'Runs', value: '1' },
      { key: 'seed', label: 'Seed', value: '1' },
    ],
    flags: (values) => values,
  },
  run: {
    title: 'Virtual network',
    about: 'The very nodes of the agent, on a network that exists in memory only, in virtual time.',
    fields: [
      { key: 'nodes', label: 'Nodes', value: '100' },
      { key: 'view', label: 'View', words: ['full', 'partial'] },
      { key: 'mode', label: 'Mode', words: MODES },
      { key: 'fanout', label: 'Fanout', value: '3' },
      { key: 'loss', label: 'Loss, a share', value: '0' },
      { key: 'start', label: 'Start', words: ['cold', 'joined'] },
      { key: 'duration', label: 'Virtual time', value: '20s' },
      { key: 'seed', label: 'Seed', value: '1' },
      { key: 'messages', label: 'Messages', value: '10' },
      { key: 'size', label: 'of so many bytes', value: '64' },
      { key: 'published', label: 'published at', value: '10s' },
      { key: 'kind', label: 'Fault', words: Object.keys(FAULTS), names: FAULTS },
      { key: 'share', label: 'of a share of the nodes', value: '0.2', isFor: (values) => values.kind !== 'none' },
      { key: 'at', label: 'from', value: '5s', isFor: (values) => values.kind !== 'none' },
      { key: 'until', label: 'healed at', value: '15s', isFor: (values) => values.kind === 'partition' },
      { key: 'fault', label: 'Further faults', value: '', hint: 'WHAT@WHEN, as in restart:n3@8s', isWide: true },
    ],
    flags({ messages, size, published, kind, share, at, until, fault, ...values }) {
      const drawn = { none: [], crash: [`crash:${share}@${at}`], partition: [`partition:${share}@${at}`, `heal@${until}`], churn: [`churn:${share}/s@${at}`] };
      const faults = [...drawn[kind], ...fault.split(/\s+/).filter((word) => word !== '')];
      const publish = messages === '' || messages === '0' ? [] : [`${messages}:${size}@${published}`];
      return { ...values, fault: faults, publish };
    },
  },
};

// Which field a refusal is about that names a flag made of several.
const ABOUT = { fault: 'kind', publish: 'messages' };

function control({ key, value, words, names, suggested }) {
  if (words) return h('select', { name: key }, words.map((word) => h('option', { value: word }, names?.[word] ?? word)));
  return h('input', { name: key, value, autocomplete: 'off', spellcheck: 'false', list: suggested ? `lab-${key}` : null });
}

// The fields of a model, each asked for by its name.
function parameters(model) {
  const inputs = new Map();
  const rows = model.fields.map((each) => {
    const input = control(each);
    inputs.set(each.key, input);
    const known = each.suggested && h('datalist', { id: `lab-${each.key}` }, each.suggested.map((word) => h('option', { value: word })));
    return { each, node: h('div', { class: each.isWide ? 'whole' : null }, field(each.label, input, each.hint), known) };
  });
  const values = () => Object.fromEntries([...inputs].map(([key, input]) => [key, input.value.trim()]));
  const fit = () => rows.forEach(({ each, node }) => each.isFor && node.classList.toggle('hidden', !each.isFor(values())));
  const node = h('div', { class: 'parameters', onchange: fit }, rows.map((row) => row.node));
  const blame = (name) => {
    inputs.forEach((input) => input.removeAttribute('aria-invalid'));
    const key = (name ?? '').replaceAll('_', '-');
    const input = inputs.get(ABOUT[key] ?? key);
    input?.setAttribute('aria-invalid', 'true');
    input?.focus();
  };
  fit();
  return { node, values, blame };
}

// What is drawn and counted of the model: `started`, `progress` and `done` hear its events and give what is to be said.
function spreadResult() {
  const chart = new Chart({ title: 'Who knows', lines: ['measured', 'theory'], format: percent, xFormat: (round) => `${chart.unit} ${Math.round(round)}`, isShare: true, isTall: true });
  chart.unit = 'round';
  let theory = [];
  const show = (known) => chart.show([byIndex(known), byIndex(theory)], 0, Math.max(1, known.length - 1, theory.length - 1));
  const started = (document, { timing }) => {
    chart.unit = timing === 'async' ? 'period' : 'round';
    theory = document.theory ?? [];
    show([]);
  };
  const progress = ({ run, runs, known }) => {
    show(known);
    return `${runs > 1 ? `Run ${run} of ${runs}: ` : ''}${chart.unit} ${known.length - 1}, ${percent(known.at(-1))} know it`;
  };
  const done = (outcome) => {
    theory = outcome.theory ?? [];
    show(outcome.curve);
    const last = `${short(outcome.time_last.mean)} ${chart.unit}s`;
    return outcome.residue.max === 0 ? `Everybody knew after ${last}.` : `${percent(outcome.coverage.mean)} know it; the last to know knew after ${last}.`;
  };
  const rows = ({ runs, coverage, residue, traffic, time_average, time_last, atomic, elapsed }) => {
    const of = (summary, format) => {
      const [average, least, greatest] = [summary.mean, summary.min, summary.max].map(format);
      return least === greatest ? average : `${average} (${least} to ${greatest})`;
    };
    return [
      ['Know it in the end', of(coverage, percent)],
      ['Never know it', of(residue, percent)],
      ...(runs > 1 ? [['Runs in which all know it', percent(atomic)]] : []),
      [`The last knew, in ${chart.unit}s`, of(time_last, short)],
      ['A node knew, in the mean', of(time_average, short)],
      ['Update messages for each node', of(traffic, short)],
      ['Took', millis(elapsed)],
    ];
  };
  return { nodes: [chart.node], started, progress, done, rows, close: () => chart.close() };
}

function runResult() {
  const byTime = new Chart({ title: 'Who knows, by time since it happened', lines: ['had the message', 'knew of the failure'], format: percent, xFormat: (log) => millis(10 ** log), isShare: true, isTall: true, steps: true });
  const byHop = new Chart({ title: 'Who had the message, by hop', lines: ['measured', 'theory'], format: percent, xFormat: (hop) => `hop ${Math.round(hop)}`, isShare: true });
  const note = h('small');
  byHop.node.querySelector('header').append(note);
  let theory = [];
  const show = ({ heard, known, hops }) => {
    const curves = [heard, known].map(logarithm);
    const ends = curves.flat().map(([log]) => log);
    const [first, last] = ends.length > 0 ? [Math.min(...ends), Math.max(...ends)] : [Math.log10(SOONEST), 0];
    byTime.show(curves, first, Math.max(last, first + 0.1));
    byHop.show([byIndex(hops), byIndex(theory)], 0, Math.max(1, hops.length - 1, theory.length - 1));
  };
  const started = (document, { fanout }) => {
    theory = document.theory ?? [];
    setText(note, document.theory ? `theory: each tells ${fanout} others once` : '');
    show({ heard: [], known: [], hops: [] });
  };
  const progress = (document) => {
    show(document);
    const had = document.heard.at(-1)?.[1];
    return `${short(document.at)} of ${short(document.until)} s of virtual time${had === undefined ? '' : `; ${percent(had)} have the messages`}`;
  };
  const done = ({ messages }) => {
    const complete = messages.filter((message) => message.reached === message.alive).length;
    if (messages.length === 0) return 'Nothing was published.';
    return complete === messages.length ? `${plural(complete, 'message')}, each with every node.` : `${count(complete)} of ${plural(messages.length, 'message')} came to every node.`;
  };
  return { nodes: [byTime.node, byHop.node], started, progress, done, rows: runRows, close: () => { byTime.close(); byHop.close(); } };
}

const present = (list) => list.filter((value) => value !== null && value !== undefined);
const mean = (list) => (list.length === 0 ? null : list.reduce((sum, value) => sum + value, 0) / list.length);
const most = (list) => (list.length === 0 ? null : Math.max(...list));

function runRows(outcome) {
  const { messages, failures, per_node: sent } = outcome;
  const of = (key) => present(messages.map((message) => message[key]));
  const number = (value) => (value === null ? '–' : short(value));
  const rows = [['All had joined after', millis(outcome.joined_after)]];
  if (messages.length > 0) {
    const least = messages.reduce((a, b) => (a.reached / a.alive <= b.reached / b.alive ? a : b));
    rows.push(['Messages that came to all', `${messages.filter((each) => each.reached === each.alive).length} of ${messages.length}`],
      ['The least spread one came to', `${count(least.reached)} of ${count(least.alive)}`],
      ['To a node after, in the mean', millis(mean(of('average')))], ['To the last node after, at most', millis(most(of('last')))],
      ['Hops, in the mean', number(mean(of('hops').map((hops) => hops.mean)))],
      ['Copies more than needed', number(mean(of('redundancy')))]);
  }
  if (failures.length > 0) {
    rows.push(['Failures', count(failures.length)],
      ['Known to the first after, in the mean', millis(mean(present(failures.map((each) => each.first))))],
      ['Known to all after, at most', millis(most(present(failures.map((each) => each.last))))]);
  }
  rows.push(['Healthy nodes declared dead', count(outcome.false_positives)], ['Suspicions seen', count(outcome.suspicions)],
    ['A node sent, in a second', `${short(sent.datagrams_per_second.mean)} datagrams, ${bytes(sent.bytes_per_second.mean)}`],
    ['Took', `${millis(outcome.elapsed)}, ${count(outcome.events)} events`], ['Trace hash', h('code', null, outcome.trace_hash)]);
  return rows;
}

const RESULTS = { spread: spreadResult, run: runResult };

// The command line that does the same, to be taken along.
function commandCard() {
  const text = h('code', { class: 'command' });
  const nothing = h('p', { class: 'muted' }, 'Shown as soon as something runs.');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      toast('copied');
    } catch {
      // Where the browser keeps its clipboard to itself.
      getSelection().selectAllChildren(text);
      toast('marked: copy it as any other text');
    }
  };
  const button = h('button', { type: 'button', class: 'hidden', onclick: copy }, 'Copy');
  const node = card('The same on the command line', h('div', { class: 'in' }, nothing, text));
  node.querySelector('header').append(button);
  const show = (command) => {
    // No line ends within a word.
    text.replaceChildren(...command.split(' ').flatMap((word) => [h('span', null, word), ' ']).slice(0, -1));
    nothing.classList.add('hidden');
    button.classList.remove('hidden');
  };
  return { node, show };
}

function figures() {
  const body = h('tbody');
  const nothing = h('p', { class: 'note' }, 'Choose parameters and run them.');
  const node = card('Figures', nothing, h('table', { class: 'plain' }, body));
  const show = (rows) => {
    nothing.classList.toggle('hidden', rows.length > 0);
    body.replaceChildren(...rows.map(([name, value]) => h('tr', null, h('th', { scope: 'row' }, name), h('td', { class: 'right' }, value))));
  };
  return { node, show };
}

// One run after the other; each is given up when another begins, or nobody looks any more.
function runner({ hear, ended }) {
  let ending = null;
  const stop = () => {
    ending?.abort();
    ending = null;
  };
  const begin = async (path, flags) => {
    stop();
    const mine = new AbortController();
    ending = mine;
    let problem = null;
    try {
      await perform(path, flags, (document, name) => mine === ending && hear(document, name), mine.signal);
    } catch (error) {
      problem = error;
    }
    if (mine !== ending) return;
    ending = null;
    ended(problem);
  };
  return { begin, stop, isAtWork: () => ending !== null };
}

export function openLaboratory({ watch, store, onClose }) {
  const kind = h('select', { name: 'model' }, Object.entries(MODELS).map(([name, { title }]) => h('option', { value: name }, title)));
  const about = h('p', { class: 'muted' });
  const place = h('div');
  const charts = h('div', { class: 'drawn' });
  const words = h('p', { role: 'status' });
  const refusal = h('p', { class: 'banner hidden', role: 'alert' });
  const bar = h('progress', { max: '1', 'aria-label': 'How far the run is', class: 'hidden' });
  const command = commandCard();
  const table = figures();
  let [asked, result, values, hasEnd] = [null, null, {}, false];

  const refuse = (text) => {
    setText(refusal, text);
    refusal.classList.toggle('hidden', text === '');
  };
  const atWork = (isSo) => {
    run.disabled = isSo;
    stop.disabled = !isSo;
    bar.classList.toggle('hidden', !isSo);
  };
  const hear = (document, name) => {
    if (name === 'started') {
      command.show(document.command);
      result.started(document, values);
    } else if (name === 'progress') {
      setText(words, result.progress(document));
      if (document.until) bar.value = document.at / document.until;
    } else if (name === 'failed') {
      hasEnd = true;
      refuse(document.detail);
    } else {
      hasEnd = true;
      setText(words, result.done(document));
      table.show(result.rows(document));
    }
  };
  const ended = (problem) => {
    atWork(false);
    if (problem === null && !hasEnd) refuse('the agent ended the run');
    if (problem === null) return;
    setText(words, '');
    refuse(problem.message);
    asked.blame(problem.field);
  };
  const work = runner({ hear, ended });
  const begin = (event) => {
    event.preventDefault();
    values = asked.values();
    hasEnd = false;
    refuse('');
    asked.blame(null);
    table.show([]);
    setText(words, 'Running…');
    bar.removeAttribute('value');
    atWork(true);
    work.begin(`/v1/lab/${kind.value}`, MODELS[kind.value].flags(values));
  };
  const halt = () => {
    work.stop();
    atWork(false);
    setText(words, 'Stopped.');
  };
  const choose = () => {
    if (work.isAtWork()) halt();
    result?.close();
    asked = parameters(MODELS[kind.value]);
    result = RESULTS[kind.value]();
    setText(about, MODELS[kind.value].about);
    place.replaceChildren(asked.node);
    charts.replaceChildren(...result.nodes);
    table.show([]);
    refuse('');
    setText(words, 'Nothing runs.');
  };
  kind.addEventListener('change', choose);
  const run = h('button', { type: 'submit', class: 'primary' }, 'Run');
  const stop = h('button', { type: 'button', onclick: () => { halt(); run.focus(); }, disabled: true }, 'Stop');
  const form = card('What to run', h('form', { class: 'in', onsubmit: begin }, field('Model', kind), about, place, refusal,
    h('div', { class: 'buttons' }, stop, run), words, bar));
  choose();
  const closed = h('p', { class: 'banner hidden' }, 'This agent was not started with --lab: its laboratory is closed. The same runs as rumor lab, without any agent.');
  const open = h('div', { class: 'lab' }, h('div', null, form, command.node), h('div', null, charts, table.node));
  watch(['info'], () => {
    const isClosed = store.info !== null && !store.info.lab;
    closed.classList.toggle('hidden', !isClosed);
    open.classList.toggle('hidden', isClosed);
  });
  onClose(() => { work.stop(); result.close(); });
  return [h('div', { class: 'head' }, h('h1', null, 'Laboratory'), h('small', null, 'runs in this agent, for as long as you look')), closed, open];
}
