// Elements without markup: text stays text, whoever wrote it.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Text that came over the network: isolated, so that it cannot turn around the text beside it.
export function said(text, attributes) {
  return h('bdi', attributes, String(text));
}

export function icon(name, attributes) {
  return svg('svg', { 'aria-hidden': 'true', ...attributes }, svg('use', { href: `#${name}` }));
}

// Writes only what is new: the browser has nothing to do for the rest.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function card(title, ...children) {
  return h('section', { class: 'card', 'aria-label': title }, h('header', null, h('h2', null, title)), ...children);
}

export function field(label, input, hint) {
  return h('label', { class: 'field' }, h('span', null, label), input, hint && h('small', null, hint));
}

// The shape of a state, and the word beside it.
export function state(word) {
  const shape = icon(`s-${word}`, { class: 'shape' });
  return h('span', { class: `state ${word}` }, shape, h('span', null, word));
}

export function setState(element, word) {
  if (element.classList.contains(word)) return;
  element.className = `state ${word}`;
  element.querySelector('use').setAttribute('href', `#s-${word}`);
  element.lastChild.textContent = word;
}
