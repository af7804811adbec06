// Questions before something is done, and words about what came of it.

import { h } from './dom.js';

const TOASTS_MAX = 4;
const TOAST_FOR = 6_000;

// Asks in a dialog and gives what `answer()` says, or null; also where the page is left to which the question belongs.
function ask({ title, content, action, isDanger, answer, isOfPage = true }) {
  return new Promise((resolve) => {
    const leave = () => close(null);
    if (isOfPage) addEventListener('hashchange', leave);
    const close = (result) => {
      removeEventListener('hashchange', leave);
      dialog.close();
      dialog.remove();
      resolve(result);
    };
    const submit = (event) => {
      event.preventDefault();
      close(answer());
    };
    const dialog = h('dialog', { 'aria-label': title, oncancel: () => close(null) },
      h('form', { onsubmit: submit },
        h('h2', null, title), content,
        h('div', { class: 'buttons' },
          h('button', { type: 'button', onclick: () => close(null) }, 'Cancel'),
          h('button', { type: 'submit', class: isDanger ? 'danger' : 'primary' }, action))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export async function confirm({ title, text, action, isDanger = false }) {
  return (await ask({ title, content: h('p', null, text), action, isDanger, answer: () => true })) === true;
}

export function askToken(isWrong) {
  const input = h('input', { type: 'password', autocomplete: 'off', required: true, 'aria-label': 'Token' });
  const content = h('div', null,
    h('p', null, isWrong ? 'That is not its token. Try again.' : 'This agent answers only to those who know its token.'),
    input,
    h('p', { class: 'muted' }, 'It is kept for this tab until you close it, and sent to this agent only.'));
  return ask({ title: 'Token', content, action: 'Continue', answer: () => input.value.trim(), isOfPage: false });
}

export function toast(text, isBad = false) {
  const region = document.getElementById('toasts');
  const note = h('p', { class: isBad ? 'toast bad' : 'toast' }, text);
  region.append(note);
  while (region.children.length > TOASTS_MAX) region.firstChild.remove();
  setTimeout(() => note.remove(), TOAST_FOR);
}

// Does something and says what came of it: a sentence either way.
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(typeof done === 'function' ? done(result) : done);
    return result;
  } catch (error) {
    toast(error.message, true);
    return null;
  }
}
