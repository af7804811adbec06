// What the browser keeps for this page. Where it keeps nothing, the page remembers until it is closed.

function memory(open) {
  const here = new Map();
  let kept = null;
  try {
    kept = open();
  } catch {
    // The browser was told to keep nothing.
  }
  const get = (key) => here.get(key) ?? kept?.getItem(key) ?? null;
  const set = (key, text) => {
    here.set(key, text);
    try {
      kept?.setItem(key, text);
    } catch {
      // It has no room: this page knows it.
    }
  };
  const remove = (key) => {
    here.delete(key);
    kept?.removeItem(key);
  };
  return { get, set, remove };
}

// For this browser, and for this tab until it is closed.
export const lasting = memory(() => localStorage);
export const passing = memory(() => sessionStorage);
