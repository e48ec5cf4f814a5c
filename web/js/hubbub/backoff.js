// @ts-check
/**
 * How long to wait before the next try. Pure but for the randomness that it is given.
 * The wait doubles with each failure up to a ceiling; half of it is random, so that ten thousand clients
 * which lost the hub in the same moment do not come back in the same moment.
 */
export class Backoff {
  #failures = 0;

  /** @param {{baseMs?: number, maxMs?: number, random?: () => number}} [options] */
  constructor({ baseMs = 1_000, maxMs = 20_000, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  /** Failures since the last success. */
  get failures() {
    return this.#failures;
  }

  /** @returns {number} milliseconds to wait; counts one more failure */
  next() {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** this.#failures);
    this.#failures += 1;
    return Math.round(ceiling / 2 + (this.random() * ceiling) / 2);
  }

  reset() {
    this.#failures = 0;
  }
}
