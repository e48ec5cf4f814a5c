// @ts-check
/**
 * What this connection shows in a room besides messages: its presence state, its cursor, how far it has read. Only the newest of each
 * counts, so each is paced, and the newest is shown again after a reconnect.
 */
import { Latest } from './latest.js';
import {
  byteLength, CURSOR_BYTES_MAX, CURSOR_INTERVAL_MS, errorVerdict, PRESENCE_BYTES_MAX, PRESENCE_INTERVAL_MS, READ_INTERVAL_MS,
} from './protocol.js';

export class Lanes {
  /** @type {Record<string, unknown>} */
  presence;
  /** @type {Record<string, unknown> | null} */
  cursor = null;

  #open = false;
  /** @type {Record<string, unknown> | null} the state that went with the latest join */
  #joinedWith = null;
  /** @type {number | null} */
  #presenceRef = null;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {import('./room.js').Link} options.link
   * @param {Record<string, unknown>} options.presence
   */
  constructor({ room, link, presence }) {
    this.room = room;
    this.link = link;
    this.presence = checked(presence, PRESENCE_BYTES_MAX, 'presence state');
    const { clock } = link.environment;
    this.lanes = {
      presence: new Latest({ intervalMs: PRESENCE_INTERVAL_MS, clock, send: (state) => this.#sendPresence(state) }),
      cursor: new Latest({ intervalMs: CURSOR_INTERVAL_MS, clock, send: (position) => this.#sendCursor(position) }),
      read: new Latest({ intervalMs: READ_INTERVAL_MS, clock, send: (seq) => this.#say({ type: 'read', seq }) }),
    };
  }

  /** @param {Record<string, unknown>} state */
  setPresence(state) {
    this.presence = checked(state, PRESENCE_BYTES_MAX, 'presence state');
    this.lanes.presence.push(state);
  }

  /** @param {Record<string, unknown> | null} position */
  moveCursor(position) {
    this.cursor = checked(position, CURSOR_BYTES_MAX, 'cursor position');
    this.lanes.cursor.push(position);
  }

  /** @param {number} seq */
  markRead(seq) {
    this.lanes.read.push(seq);
  }

  /** The state for a join that is about to be sent. */
  forJoin() {
    this.#joinedWith = this.presence;
    return this.presence;
  }

  /** The room is joined: shows what is not shown yet. */
  open() {
    this.#open = true;
    if (this.presence !== this.#joinedWith) this.lanes.presence.push(this.presence);
    if (this.cursor !== null) this.lanes.cursor.push(this.cursor);
    this.lanes.read.flush();
  }

  /** Nobody hears us. */
  close() {
    this.#open = false;
    this.#presenceRef = null;
    this.lanes.presence.cancel();
    this.lanes.cursor.cancel();
  }

  /**
   * @param {import('./protocol.js').ErrorFrame} error
   * @returns {boolean} whether it answers our latest presence state and is dealt with
   */
  refused(error) {
    if (this.#presenceRef === null || error.ref !== this.#presenceRef) return false;
    this.#presenceRef = null;
    const verdict = errorVerdict(error.code);
    if (verdict !== 'later' && verdict !== 'few') return false;
    this.lanes.presence.pause(error.retry_after_ms ?? 1_000);
    this.lanes.presence.push(this.presence);
    return true;
  }

  /** @param {Record<string, unknown>} state */
  #sendPresence(state) {
    const ref = this.link.nextRef();
    if (!this.#say({ type: 'presence', ref, state })) return false;
    this.#presenceRef = ref;
    return true;
  }

  /** @param {Record<string, unknown> | null} position */
  #sendCursor(position) {
    // A network that cannot keep up gets fewer positions: the newest is asked for again after the interval.
    if (position !== null && this.link.isCongested()) {
      this.lanes.cursor.pause(CURSOR_INTERVAL_MS);
      return false;
    }
    return this.#say({ type: 'cursor', position });
  }

  /** @param {object} frame */
  #say(frame) {
    return this.#open && this.link.send({ ...frame, room: this.room }) === 'sent';
  }
}

/**
 * @template T
 * @param {T} value
 * @param {number} bytesMax
 * @param {string} what
 * @returns {T}
 */
function checked(value, bytesMax, what) {
  if (byteLength(JSON.stringify(value)) > bytesMax) throw new RangeError(`the ${what} is over ${bytesMax} bytes`);
  return value;
}
