// @ts-check
/**
 * This connection's place in one room: asks for it, asks again when there is no answer or a later try is wished, and knows
 * whether it has it. What comes with the place (members, messages) is the room's.
 */
import { Backoff } from './backoff.js';
import { errorVerdict } from './protocol.js';

/** How long an answer to `join` may take. */
const JOIN_TIMEOUT_MS = 10_000;

export class Seat {
  /** @type {'joining' | 'joined' | 'refused' | 'left'} `joining` also while the connection is away */
  state = 'joining';
  /** @type {{code: string, message: string} | null} why it was refused */
  error = null;

  /** @type {number | null} of the join on its way */
  #ref = null;
  /** @type {any} */
  #timer = null;

  /**
   * @param {object} options
   * @param {import('./room.js').Link} options.link
   * @param {() => object} options.joinFrame all but `ref`
   * @param {(state: Seat['state']) => void} options.onState
   */
  constructor({ link, joinFrame, onState }) {
    this.link = link;
    this.joinFrame = joinFrame;
    this.onState = onState;
    this.backoff = new Backoff({ random: link.environment.random });
  }

  /** Asks for the place; a join that is on its way already does not count any more. */
  ask() {
    if (this.state === 'left' || this.state === 'refused') return;
    this.lose();
    const ref = this.link.nextRef();
    if (this.link.send({ ...this.joinFrame(), ref }) !== 'sent') return;
    this.#ref = ref;
    this.#askLater(JOIN_TIMEOUT_MS);
  }

  /** The connection, or the place alone, is gone. */
  lose() {
    this.#clear();
    this.#become('joining');
  }

  leave() {
    this.#clear();
    this.#become('left');
  }

  /**
   * @param {import('./protocol.js').JoinedFrame} frame
   * @returns {boolean} whether it answers the latest join
   */
  joined(frame) {
    if (this.#ref === null || frame.ref !== this.#ref) return false;
    this.#clear();
    this.backoff.reset();
    this.#become('joined');
    return true;
  }

  /**
   * @param {import('./protocol.js').ErrorFrame} error
   * @returns {boolean} whether it answers the latest join
   */
  refused(error) {
    if (this.#ref === null || error.ref !== this.#ref) return false;
    this.#clear();
    const { code, message } = error;
    if (errorVerdict(code) !== 'final') {
      this.#askLater(error.retry_after_ms ?? this.backoff.next());
    } else {
      this.error = { code, message };
      this.#become('refused');
    }
    return true;
  }

  /** @param {number} ms */
  #askLater(ms) {
    this.#timer = this.link.environment.clock.setTimeout(() => this.ask(), ms);
  }

  #clear() {
    this.#ref = null;
    this.link.environment.clock.clearTimeout(this.#timer);
  }

  /** @param {Seat['state']} state */
  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.onState(state);
  }
}
