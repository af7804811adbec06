// What the page knows. Views say which parts they show, and are told at most once a frame.

import { compareNames } from './format.js';

const EVENTS_MAX = 500;
// Ten minutes, and as many as come in that time at one every two seconds.
const SAMPLES_SPAN = 600;
const SAMPLES_MAX = 300;

export class Store {
  // What the agent says of itself, null before it was asked.
  info = null;
  // `connecting`, `live`, `gone`, `locked` (it asks for a token) or `refused`, since when, and why.
  link = { state: 'connecting', since: Date.now(), detail: '' };
  members = new Map();
  // The newest first.
  events = [];
  // What `/metrics` said, the oldest first: { at, values }.
  samples = [];
  #listeners = new Set();
  #changed = new Set();
  #isDue = false;
  #ordered = null;
  // Of whom something was heard since a list was asked for, null where none is to come.
  #heard = null;

  // Calls `render` when one of these parts has changed; gives how to stop that.
  watch(parts, render) {
    const listener = { parts, render };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  touch(part) {
    this.#changed.add(part);
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#isDue = false;
    const changed = this.#changed;
    this.#changed = new Set();
    for (const { parts, render } of [...this.#listeners]) {
      if (parts.some((part) => changed.has(part))) render();
    }
  }

  setLink(state, detail = '') {
    if (this.link.state === state && this.link.detail === detail) return;
    const since = this.link.state === state ? this.link.since : Date.now();
    this.link = { state, since, detail };
    this.touch('link');
  }

  setInfo(info) {
    this.info = info;
    this.touch('info');
  }

  setMembers(list) {
    this.#heard = null;
    this.members = new Map(list.map((member) => [member.id, member]));
    this.#ordered = null;
    this.touch('members');
  }

  // Gives what takes in a list that is asked for now: what is heard until it comes is newer than it.
  awaitMembers() {
    const heard = new Set();
    this.#heard = heard;
    return (list) => {
      if (this.#heard !== heard) return;
      const newer = [...heard].map((id) => this.members.get(id)).filter(Boolean);
      this.setMembers([...list.filter((member) => !heard.has(member.id)), ...newer]);
    };
  }

  // A change about one member, as the agent tells it.
  hear(event) {
    const { member } = event;
    const known = this.members.get(member.id);
    this.#heard?.add(member.id);
    if (event.event === 'removed') this.members.delete(member.id);
    else this.members.set(member.id, { ...member, rtt: member.rtt ?? known?.rtt ?? null });
    if (!known || known.name !== member.name || event.event === 'removed') this.#ordered = null;
    this.touch('members');
    this.note(event);
  }

  note(event) {
    this.events.unshift(event);
    if (this.events.length > EVENTS_MAX) this.events.length = EVENTS_MAX;
    this.touch('events');
  }

  addSample(values) {
    const at = Date.now() / 1000;
    this.samples.push({ at, values });
    const kept = this.samples.findIndex((sample) => sample.at >= at - SAMPLES_SPAN);
    this.samples.splice(0, kept);
    if (this.samples.length > SAMPLES_MAX) this.samples.splice(0, this.samples.length - SAMPLES_MAX);
    this.touch('samples');
  }

  // All members by name. The order is kept until somebody comes, goes or is renamed.
  ordered() {
    if (this.#ordered === null) {
      const list = [...this.members.values()].sort((a, b) => compareNames(a.name, b.name));
      this.#ordered = list.map((member) => member.id);
    }
    return this.#ordered.map((id) => this.members.get(id));
  }

  counts() {
    const counts = { alive: 0, suspect: 0, dead: 0, left: 0, revoked: 0 };
    for (const member of this.members.values()) counts[member.state] += 1;
    return counts;
  }

  named(name) {
    for (const member of this.members.values()) if (member.name === name) return member;
    return null;
  }
}
