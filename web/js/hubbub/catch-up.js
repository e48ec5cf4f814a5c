// @ts-check
/**
 * Fills holes in a room's timeline over HTTP: after an absence too long to be replayed, or should a live message ever be missing.
 * One hole at a time; what arrives meanwhile waits in the timeline, so the order holds.
 */
import { Backoff } from './backoff.js';

const PAGE_MAX = 200;
const TRIES_MAX = 4;

export class CatchUp {
  #running = false;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {import('./timeline.js').Timeline} options.timeline
   * @param {import('./room.js').Link} options.link
   * @param {number} options.most how many missed messages are worth fetching; beyond that the oldest are left to scroll-back
   * @param {() => boolean} options.isWanted no while the room is not joined: the next join replays or begins anew
   * @param {(accepted: ReturnType<import('./timeline.js').Timeline['accept']>) => void} options.onAccepted
   * @param {(gap: {after: number, before: number}) => void} options.onSkipped the timeline starts anew behind the gap
   */
  constructor(options) {
    this.options = options;
    this.backoff = new Backoff({ random: options.link.environment.random });
  }

  /** Call whenever there may be a hole; a run that is under way goes on. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    try {
      for (let hole; this.options.isWanted() && (hole = this.options.timeline.hole); ) await this.#fill(hole);
    } finally {
      this.#running = false;
    }
  }

  /** @param {{after: number, before: number}} hole exclusive */
  async #fill({ after, before }) {
    const { room, timeline, link, most, isWanted, onAccepted } = this.options;
    if (before - after - 1 > most) return this.#skip(after, before - most);
    const limit = Math.min(PAGE_MAX, before - after - 1);
    const page = await link.api.messages(room, { after, limit }).catch(() => []);
    if (!isWanted()) return;
    onAccepted(timeline.accept(page));
    if ((timeline.head ?? 0) > after) return this.backoff.reset();
    // Nothing came: the hub is away for a moment, or it does not have them.
    if (this.backoff.failures >= TRIES_MAX) return this.#skip(after, before);
    const { clock } = link.environment;
    const wait = this.backoff.next();
    await new Promise((resolve) => clock.setTimeout(() => resolve(undefined), wait));
  }

  /**
   * @param {number} after
   * @param {number} before
   */
  #skip(after, before) {
    this.backoff.reset();
    this.options.onSkipped({ after, before });
    this.options.onAccepted(this.options.timeline.skipTo(before));
  }
}
