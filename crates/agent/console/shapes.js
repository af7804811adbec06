// The shapes of states on canvases, each drawn once for a size and a colour.

const cache = new Map();
const CACHE_MAX = 400;

function outline(context, state, r) {
  context.beginPath();
  if (state === 'suspect') {
    context.moveTo(0, -r * 1.1);
    context.lineTo(r * 1.1, r * 0.85);
    context.lineTo(-r * 1.1, r * 0.85);
    context.closePath();
    context.fill();
  } else if (state === 'dead') {
    context.lineWidth = Math.max(1.2, r * 0.5);
    context.lineCap = 'round';
    context.moveTo(-r * 0.75, -r * 0.75);
    context.lineTo(r * 0.75, r * 0.75);
    context.moveTo(r * 0.75, -r * 0.75);
    context.lineTo(-r * 0.75, r * 0.75);
    context.stroke();
  } else if (state === 'revoked') {
    context.lineWidth = Math.max(1, r * 0.35);
    context.arc(0, 0, r * 0.9, 0, 2 * Math.PI);
    context.moveTo(-r * 0.6, -r * 0.6);
    context.lineTo(r * 0.6, r * 0.6);
    context.stroke();
  } else if (state === 'left') {
    context.lineWidth = Math.max(1, r * 0.35);
    context.arc(0, 0, r * 0.8, 0, 2 * Math.PI);
    context.stroke();
  } else {
    context.arc(0, 0, r, 0, 2 * Math.PI);
    context.fill();
  }
}

// A picture of the shape, `size` pixels of the page wide, sharp on this screen.
export function sprite(state, r, colour, dpr) {
  const key = `${state} ${r} ${colour} ${dpr}`;
  const known = cache.get(key);
  if (known) return known;
  if (cache.size >= CACHE_MAX) cache.clear();
  const size = Math.ceil(r * 2.6 + 2);
  const canvas = document.createElement('canvas');
  canvas.width = Math.ceil(size * dpr);
  canvas.height = canvas.width;
  const context = canvas.getContext('2d');
  context.scale(dpr, dpr);
  context.translate(size / 2, size / 2);
  context.fillStyle = colour;
  context.strokeStyle = colour;
  outline(context, state, r);
  const made = { canvas, size };
  cache.set(key, made);
  return made;
}
