// @ts-check
/**
 * Is anybody at the other end? A socket whose cable was pulled stays "open" for minutes, so the client asks:
 * one heartbeat per interval, each answered by the hub. Pure: time comes in as an argument.
 *
 * Invariant: only an unanswered question proves death, never silence alone. Browsers slow the timers of hidden tabs to
 * one a minute, so the gap between two ticks says nothing; but frames are still handed over at once, so an answer that has
 * not come by the next tick is not coming.
 */
export class Liveness {
  /** @type {number | null} when the oldest unanswered heartbeat was sent */
  #askedAt = null;
  #deadlineMs;

  /** @param {number} intervalMs as `welcome` gave it */
  constructor(intervalMs) {
    this.intervalMs = intervalMs;
    this.#deadlineMs = intervalMs;
  }

  /** Any frame from the hub counts as an answer. */
  heard() {
    this.#askedAt = null;
    this.#deadlineMs = this.intervalMs;
  }

  /**
   * Once per interval: send a heartbeat, or conclude. Death is seen one to two intervals after the last frame.
   * @param {number} now
   * @returns {'ask' | 'dead'}
   */
  tick(now) {
    if (this.#askedAt !== null && now - this.#askedAt >= this.#deadlineMs) return 'dead';
    this.#askedAt ??= now;
    return 'ask';
  }

  /**
   * A reason to doubt (the machine woke up, the network changed): ask now and expect the answer soon.
   * @param {number} now
   * @param {number} deadlineMs
   */
  doubt(now, deadlineMs) {
    this.#askedAt = now;
    this.#deadlineMs = Math.min(deadlineMs, this.intervalMs);
  }
}
