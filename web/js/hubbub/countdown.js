// @ts-check
/**
 * A wait that can be told: counts down to the next try a second at a time, so that the page can say how long it will be.
 */
export class Countdown {
  /** @type {any} */
  #timer = null;

  /** @param {import('./environment.js').Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /**
   * @param {number} ms
   * @param {(leftMs: number) => void} tell at once, then on every full second left
   * @param {() => void} done
   */
  start(ms, tell, done) {
    this.stop();
    const end = this.clock.now() + ms;
    const step = () => {
      const left = end - this.clock.now();
      if (left <= 0) {
        this.#timer = null;
        done();
        return;
      }
      this.#timer = this.clock.setTimeout(step, left % 1_000 || 1_000);
      tell(left);
    };
    step();
  }

  stop() {
    this.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
