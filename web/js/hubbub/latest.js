// @ts-check
/**
 * A lane where only the newest value matters (cursor, presence state, read marker): at most one send per interval,
 * the first at once, and the last one always gets through. A value that could not be sent waits for `flush`.
 *
 * @template T
 */
export class Latest {
  /** @type {{value: T} | null} */
  #waiting = null;
  #nextAt = -Infinity;
  /** @type {any} */
  #timer = null;

  /**
   * @param {{intervalMs: number, clock: import('./environment.js').Clock, send: (value: T) => boolean}} options
   *   `send` returns false when it could not go out; the value is then kept
   */
  constructor({ intervalMs, clock, send }) {
    this.intervalMs = intervalMs;
    this.clock = clock;
    this.send = send;
  }

  /** @param {T} value */
  push(value) {
    this.#waiting = { value };
    this.#pump();
  }

  /** Tries again what could not be sent. */
  flush() {
    this.#pump();
  }

  /**
   * The hub asked for patience.
   * @param {number} ms
   */
  pause(ms) {
    this.#nextAt = Math.max(this.#nextAt, this.clock.now() + ms);
    this.clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#pump();
  }

  /** Forgets what waits. */
  cancel() {
    this.#waiting = null;
    this.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #pump() {
    if (!this.#waiting || this.#timer !== null) return;
    const wait = this.#nextAt - this.clock.now();
    if (wait > 0) {
      this.#timer = this.clock.setTimeout(() => {
        this.#timer = null;
        this.#pump();
      }, wait);
      return;
    }
    const { value } = this.#waiting;
    if (!this.send(value)) return;
    this.#waiting = null;
    this.#nextAt = this.clock.now() + this.intervalMs;
  }
}
