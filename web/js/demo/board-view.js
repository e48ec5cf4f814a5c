// @ts-check
/**
 * The shared board: everyone's cursor, moving smoothly between the hub's ticks, and pings. Touches the board and nothing else.
 * Frames are drawn only while something moves.
 */
import { CursorMotion } from './cursor-motion.js';
import { byId, clone, paint, part, setText } from './dom.js';

/** Cursors drawn at most; in a crowd nobody can follow more. */
const CURSORS_MAX = 100;
/** A frame later than this is not a step of a movement: the page was not watched. */
const STEP_MS_MAX = 250;
const PING_MS = 900;

/**
 * @typedef {{x: number, y: number}} Point
 * @typedef {{element: HTMLElement, motion: CursorMotion}} Cursor
 */

export class BoardView {
  element = byId('board');
  #layer = byId('cursors');
  #ripples = byId('ripples');
  /** @type {Map<string, Cursor>} by connection id */
  #cursors = new Map();
  /** @type {HTMLElement | null} where the arrow keys are; the mouse has its own */
  #own = null;
  #frame = 0;
  #drawnAt = 0;
  #size = { width: 0, height: 0 };
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  /** @param {AbortSignal} signal */
  constructor(signal) {
    const observer = new ResizeObserver(() => this.#measure());
    observer.observe(this.element);
    signal.addEventListener('abort', () => {
      observer.disconnect();
      cancelAnimationFrame(this.#frame);
      this.#layer.replaceChildren();
      this.#ripples.replaceChildren();
    });
    this.#measure();
  }

  /**
   * @param {string} connectionId
   * @param {Point} point
   * @param {{name: string, color: string}} owner
   */
  moveCursor(connectionId, point, owner) {
    let cursor = this.#cursors.get(connectionId);
    if (!cursor) {
      if (this.#cursors.size >= CURSORS_MAX) return;
      cursor = { element: clone('cursor-template'), motion: new CursorMotion(point.x, point.y) };
      cursor.element.dataset.connectionId = connectionId;
      this.#cursors.set(connectionId, cursor);
      this.#layer.append(cursor.element);
      this.#place(cursor);
    }
    const { element, motion } = cursor;
    Object.assign(element.dataset, { name: owner.name, x: String(point.x), y: String(point.y) });
    setText(part(element, '.label'), owner.name);
    paint(element, owner.color);
    motion.aim(point.x, point.y);
    this.#draw();
  }

  /** Takes away all cursors but these. @param {{has: (connectionId: string) => boolean}} kept */
  keepCursors(kept) {
    for (const [id, { element }] of this.#cursors) {
      if (kept.has(id)) continue;
      element.remove();
      this.#cursors.delete(id);
    }
  }

  /** @param {Point | null} point */
  showOwn(point) {
    if (!point) {
      this.#own?.remove();
      this.#own = null;
      return;
    }
    if (!this.#own) {
      this.#own = document.createElement('div');
      this.#own.className = 'own-cursor';
      this.#layer.append(this.#own);
    }
    moveTo(this.#own, point, this.#size);
  }

  /** @param {Point} point @param {string} color */
  ping(point, color) {
    const ring = document.createElement('div');
    ring.className = 'ripple';
    paint(ring, color);
    moveTo(ring, point, this.#size);
    this.#ripples.append(ring);
    setTimeout(() => ring.remove(), PING_MS);
  }

  #measure() {
    this.#size = { width: this.element.clientWidth, height: this.element.clientHeight };
    for (const cursor of this.#cursors.values()) this.#place(cursor);
  }

  #draw() {
    if (this.#frame) return;
    this.#drawnAt = performance.now();
    const step = (/** @type {number} */ now) => {
      const ms = now - this.#drawnAt;
      this.#drawnAt = now;
      let moving = false;
      for (const cursor of this.#cursors.values()) {
        if (cursor.motion.isSettled) continue;
        if (this.#still.matches || ms > STEP_MS_MAX) cursor.motion.jump();
        else cursor.motion.step(Math.max(0, ms));
        this.#place(cursor);
        moving ||= !cursor.motion.isSettled;
      }
      this.#frame = moving ? requestAnimationFrame(step) : 0;
    };
    this.#frame = requestAnimationFrame(step);
  }

  /** @param {Cursor} cursor */
  #place({ element, motion }) {
    moveTo(element, motion, this.#size);
    element.classList.toggle('at-right', motion.x > 0.82);
    element.classList.toggle('at-bottom', motion.y > 0.9);
  }
}

/** @param {HTMLElement} element @param {Point} point @param {{width: number, height: number}} size */
function moveTo(element, { x, y }, { width, height }) {
  element.style.transform = `translate3d(${(x * width).toFixed(1)}px, ${(y * height).toFixed(1)}px, 0)`;
}
