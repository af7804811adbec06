// What happened, in the words of `rumor members --watch`.

import { h, icon, said } from './dom.js';
import { clock, tags } from './format.js';

const STATES = { joined: 'alive', updated: 'alive', suspected: 'suspect', refuted: 'alive', failed: 'dead', left: 'left', removed: 'left', replaced: 'alive', revoked: 'revoked' };

export function stateOf(event) {
  return STATES[event] ?? 'left';
}

// Parts of a sentence: strings of ours, elements around strings of others.
function detail({ event, by, member }) {
  const address = member.address ?? 'an unknown address';
  switch (event) {
    case 'joined':
      return member.incarnation === '1' ? [`joined at ${address}`] : [`is back at ${address}, incarnation ${member.incarnation}`];
    case 'updated':
      return [`is now incarnation ${member.incarnation} at ${address}`, ...(Object.keys(member.tags).length > 0 ? [', tags ', said(tags(member.tags))] : [])];
    case 'suspected':
      return ['is suspect: asked by ', said(by), '; others could not reach it either'];
    case 'refuted':
      return [`is alive: contradicted the suspicion, incarnation ${member.incarnation}`];
    case 'failed':
      return ['is dead'];
    case 'left':
      return ['left: said goodbye'];
    case 'revoked':
      return ['is revoked: its certificate counts no more'];
    case 'removed':
      return ['was removed'];
    case 'replaced':
      return ['shares its name with another member'];
    default:
      return [event];
  }
}

function line(event) {
  const time = h('time', null, clock(event.at));
  if (!event.member) return h('li', null, time, h('span'), h('span', { class: 'muted' }, event.detail));
  const state = stateOf(event.event);
  const who = h('a', { href: `#/member/${event.member.id}` }, said(event.member.name));
  return h('li', null, time, icon(`s-${state}`, { class: `shape ${state}` }), h('span', null, who, ' ', detail(event)));
}

// A list of what happened, the newest first; only what is new is added.
export class Happenings {
  constructor(empty, max = 100) {
    this.max = max;
    this.list = h('ol', { class: 'happenings' });
    this.nothing = h('p', { class: 'note' }, empty);
    this.node = h('div', { class: 'scroll' }, this.nothing, this.list);
    this.first = null;
  }

  show(events) {
    const last = this.first === null ? -1 : events.indexOf(this.first);
    const fresh = last < 0 ? events.slice(0, this.max) : events.slice(0, Math.min(last, this.max));
    if (last < 0) this.list.replaceChildren();
    this.list.prepend(...fresh.map(line));
    while (this.list.children.length > this.max) this.list.lastChild.remove();
    this.first = events[0] ?? null;
    this.nothing.classList.toggle('hidden', events.length > 0);
  }
}
