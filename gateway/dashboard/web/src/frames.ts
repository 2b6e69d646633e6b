// The one animation loop. Painters look for themselves whether anything changed.

type Painter = () => void;

const painters = new Set<Painter>();
let scheduled = false;

function frame(): void {
  scheduled = false;
  for (const paint of painters) paint();
  schedule();
}

function schedule(): void {
  if (scheduled || !painters.size) return;
  scheduled = true;
  requestAnimationFrame(frame); // the browser stops calling while nobody sees the page
}

/** Call `paint` before every frame, until the returned function is called. */
export function eachFrame(paint: Painter): () => void {
  painters.add(paint);
  schedule();
  return () => painters.delete(paint);
}
