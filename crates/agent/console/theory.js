// What theory says about a rumor that is passed on at once.

// The share of n nodes that know it after each hop, where each node that hears it tells `fanout` others, once: a node that
// is told by m others is missed by all of them with probability (1 - 1/(n-1))^m. Mean values, no loss.
export function informedByHop(n, fanout) {
  if (n < 2) return [1];
  const missed = 1 - 1 / (n - 1);
  const shares = [1 / n];
  let informed = 1;
  let fresh = 1;
  while (fresh > 0.05 && shares.length < 40) {
    const reached = (n - informed) * (1 - missed ** (fanout * fresh));
    informed += reached;
    fresh = reached;
    shares.push(informed / n);
  }
  return shares;
}

// The share that knew it after each hop, as it was.
export function measuredByHop(steps, members) {
  const shares = [];
  for (const { hop } of steps) shares[hop] = (shares[hop] ?? 0) + 1;
  let sum = 0;
  return Array.from(shares, (fresh) => {
    sum += fresh ?? 0;
    return sum / Math.max(1, members);
  });
}
