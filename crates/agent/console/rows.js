// Rows of a table by key: those that stay keep their elements, and with them the focus.

export class Rows {
  #rows = new Map();

  // `make(item)` gives { node, show(item) }.
  constructor(body, key, make) {
    Object.assign(this, { body, key, make });
  }

  show(items) {
    const wanted = new Set(items.map(this.key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
    items.forEach((item, index) => {
      const key = this.key(item);
      if (!this.#rows.has(key)) this.#rows.set(key, this.make(item));
      const row = this.#rows.get(key);
      row.show(item);
      const there = this.body.children[index] ?? null;
      if (there !== row.node) this.body.insertBefore(row.node, there);
    });
  }
}
