// An address of this page that leads nowhere.

import { h, said } from '../dom.js';

export function openUnknown({ rest }) {
  return [
    h('div', { class: 'head' }, h('h1', null, 'No such page')),
    h('p', { class: 'banner' }, 'This console has no page ', said(rest), '. Choose one of those that are listed.'),
  ];
}
