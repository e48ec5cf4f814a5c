// @ts-check
/**
 * Where this person points: mouse, pen, finger or arrow keys, as a place from 0 to 1 on the board, so that windows of different size
 * agree. Touches the board's events only; what is drawn is the board view's.
 */
import { listen } from './dom.js';

const STEP = 0.02;
const STEP_FAST = 0.1;
/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @typedef {{x: number, y: number}} Point
 * @param {HTMLElement} board
 * @param {object} handlers
 * @param {(point: Point | null, isByKey: boolean) => void} handlers.onMove null: no longer on the board
 * @param {(point: Point) => void} handlers.onPing
 * @param {AbortSignal} signal
 */
export function listenToBoard(board, { onMove, onPing }, signal) {
  /** @type {Point | null} */
  let byKey = null;

  const pointOf = (/** @type {PointerEvent} */ event) => {
    const box = board.getBoundingClientRect();
    return { x: clamp((event.clientX - box.left) / box.width), y: clamp((event.clientY - box.top) / box.height) };
  };
  const hide = () => {
    byKey = null;
    onMove(null, false);
  };

  const point = (/** @type {PointerEvent} */ event) => {
    byKey = null;
    onMove(pointOf(event), false);
  };
  listen(board, 'pointermove', point, signal);
  listen(board, 'pointerdown', point, signal);
  listen(board, 'pointerleave', hide, signal);
  listen(board, 'pointercancel', hide, signal);
  listen(board, 'click', (event) => onPing(pointOf(event)), signal);

  listen(board, 'keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const direction = DIRECTIONS[event.key];
    if (direction) {
      const step = event.shiftKey ? STEP_FAST : STEP;
      const { x, y } = byKey ?? { x: 0.5, y: 0.5 };
      byKey = byKey ? { x: clamp(x + direction[0] * step), y: clamp(y + direction[1] * step) } : { x, y };
      onMove(byKey, true);
    } else if ((event.key === 'Enter' || event.key === ' ') && byKey) onPing(byKey);
    else if (event.key === 'Escape' && byKey) hide();
    else return;
    event.preventDefault();
  }, signal);
  listen(board, 'blur', () => byKey && hide(), signal);
}

/** Four digits are a fraction of a pixel, and a shorter frame. @param {number} value */
function clamp(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;
}
