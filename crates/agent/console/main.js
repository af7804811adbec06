// The page: its frame, its routes, its link to the agent.

import { setToken, token } from './api.js';
import { askToken, toast } from './dialog.js';
import { h, icon, said, setText } from './dom.js';
import { duration } from './format.js';
import { connect } from './live.js';
import { themeButton } from './palette.js';
import { Store } from './store.js';
import { openAggregates } from './views/aggregates.js';
import { openAgreement } from './views/agreement.js';
import { openCluster } from './views/cluster.js';
import { openData } from './views/data.js';
import { openFaults } from './views/faults.js';
import { openLaboratory } from './views/laboratory.js';
import { openMember } from './views/member.js';
import { openRumors } from './views/rumors.js';
import { openTraffic } from './views/traffic.js';
import { openUnknown } from './views/unknown.js';

// The name in the address, the title, and what opens it. A view gives { node, close }.
const VIEWS = [
  { name: 'cluster', title: 'Cluster', open: openCluster, isTab: true },
  { name: 'member', title: 'Member', open: openMember },
  { name: 'rumors', title: 'Rumors', open: openRumors, isTab: true },
  { name: 'data', title: 'Data', open: openData, isTab: true },
  { name: 'agreement', title: 'Agreement', open: openAgreement, isTab: true },
  { name: 'aggregates', title: 'Aggregates', open: openAggregates, isTab: true },
  { name: 'traffic', title: 'Traffic', open: openTraffic, isTab: true },
  // Only where the agent has one.
  { name: 'laboratory', title: 'Laboratory', open: openLaboratory, isTab: true, isOffered: (info) => info.lab },
  // Only where `rumor dev` started the agent.
  { name: 'faults', title: 'Faults', open: openFaults, isTab: true, isOffered: (info) => info.dev },
];
const UNKNOWN = { name: 'unknown', title: 'No such page', open: openUnknown };

const store = new Store();
const main = document.getElementById('view');
let current = { name: null, close: () => {} };

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  const view = name === '' ? VIEWS[0] : VIEWS.find((each) => each.name === name);
  if (!view) return { view: UNKNOWN, rest: decode(location.hash) };
  return { view, rest: rest.map(decode).join('/') };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  const { view, rest } = route();
  const isFirst = current.name === null;
  current.close();
  const stops = [];
  const context = {
    store,
    rest,
    go: (hash) => { location.hash = hash; },
    // Renders now, and again whenever one of these parts has changed.
    watch: (parts, render) => {
      stops.push(store.watch(parts, render));
      render();
    },
    onClose: (stop) => stops.push(stop),
  };
  const node = view.open(context);
  current = { name: view.name, close: () => stops.forEach((stop) => stop()) };
  main.replaceChildren(...node);
  document.title = `${view.title} · ${store.info?.name ?? 'rumor'}`;
  for (const link of document.querySelectorAll('#tabs a')) {
    const isHere = link.dataset.name === view.name || (view.name === 'member' && link.dataset.name === 'cluster');
    if (isHere) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    } else {
      link.removeAttribute('aria-current');
    }
  }
  scrollTo(0, 0);
  if (!isFirst) main.focus({ preventScroll: true });
}

function drawTabs() {
  const links = VIEWS.filter((view) => view.isTab).map(({ name, title, isOffered }) => {
    return h('li', { class: isOffered ? 'hidden' : null }, h('a', { href: `#/${name}`, 'data-name': name }, icon(`i-${name}`), h('span', null, title)));
  });
  document.getElementById('tabs').append(h('ul', null, links));
}

function drawAgent() {
  const { info } = store;
  const place = document.getElementById('agent');
  if (!info) return;
  document.title = `${route().view.title} · ${info.name}`;
  place.replaceChildren(
    h('strong', null, said(info.name)),
    h('span', null, 'in ', said(info.cluster)),
    h('span', null, `${info.mode}, ${info.view} view`),
    h('span', null, info.sealed ? 'sealed' : 'not sealed'),
    h('span', null, `${info.version}, up ${duration(info.uptime)}`));
}

const LINKS = {
  connecting: ['s-left', 'connecting'],
  live: ['s-alive', 'live'],
  gone: ['s-dead', 'the agent is gone'],
  locked: ['s-dead', 'token needed'],
  refused: ['s-dead', 'refused'],
};

function drawLink() {
  const { state, since, detail } = store.link;
  const [shape, words] = LINKS[state];
  const [around, place] = [document.getElementById('standing'), document.getElementById('link')];
  around.className = `link ${state}`;
  around.title = detail;
  const text = (state === 'refused' || state === 'connecting') && detail ? detail : words;
  if (place.lastChild?.textContent !== text) place.replaceChildren(icon(shape, { class: 'shape' }), h('span', null, text));
  // Beside what is read out: it changes every second.
  setText(document.getElementById('waited'), state === 'gone' ? ` for ${duration((Date.now() - since) / 1000)}` : '');
  main.classList.toggle('gone', state !== 'live' && state !== 'connecting');
}

function offer() {
  for (const { name, isOffered } of VIEWS) {
    if (!isOffered) continue;
    const item = document.querySelector(`#tabs a[data-name=${name}]`).parentNode;
    const isHidden = !store.info || !isOffered(store.info);
    if (item.classList.contains('hidden') === isHidden) continue;
    item.classList.toggle('hidden', isHidden);
    document.querySelector('#tabs a[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }
}

let link = null;
let isAsking = false;

async function onLocked() {
  if (isAsking) return;
  isAsking = true;
  const given = await askToken(token() !== '');
  isAsking = false;
  if (!given) {
    toast('Without the token this page stays empty. Reload it to be asked again.', true);
    return;
  }
  setToken(given);
  link.reopen();
  // What the page asked for without the token was refused.
  show();
}

drawTabs();
themeButton(document.getElementById('theme'));
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
store.watch(['info'], drawAgent);
store.watch(['info'], offer);
store.watch(['link'], drawLink);
drawLink();
setInterval(drawLink, 1_000);
addEventListener('hashchange', show);
show();
link = connect(store, onLocked);
