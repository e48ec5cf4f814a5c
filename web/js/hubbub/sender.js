// @ts-check
/**
 * Carries one room's outbox to the hub: sends what may be sent, and waits where the outbox says so. The outbox decides, the
 * sender only has the timer and the connection.
 *
 * @typedef {import('./outbox.js').Entry} Entry
 * @typedef {Entry & {settled: Promise<Entry>}} Delivery `settled` resolves, and never rejects, once it is delivered or failed
 */
import { Outbox } from './outbox.js';

/** An answer takes milliseconds; after this it is taken as lost and the message is sent again, which its id makes harmless. */
const ACK_TIMEOUT_MS = 10_000;
/** What a page may have waiting. */
const PENDING_MAX = 1_000;

export class Sender {
  #outbox = new Outbox();
  /** @type {any} */
  #timer = null;
  #open = false;
  /** @type {Map<string, (entry: Entry) => void>} */
  #settle = new Map();

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {import('./room.js').Link} options.link
   * @param {(entry: Entry) => void} options.onChange a message became pending, delivered or failed
   * @param {() => void} options.onNotJoined
   */
  constructor(options) {
    this.options = options;
    this.clock = options.link.environment.clock;
  }

  get entries() {
    return this.#outbox.entries;
  }

  /**
   * @param {unknown} body
   * @returns {Delivery}
   */
  post(body) {
    const entry = this.#outbox.add(this.options.link.environment.newId(), body);
    /** @type {Promise<Entry>} */
    const settled = new Promise((resolve) => this.#settle.set(entry.id, resolve));
    Object.defineProperty(entry, 'settled', { value: settled });
    if (this.#outbox.pendingCount > PENDING_MAX) {
      this.#fail(entry, { code: 'outbox_full', message: `${PENDING_MAX} messages are waiting already` });
    } else {
      this.options.onChange(entry);
      this.#pump();
    }
    return /** @type {Delivery} */ (entry);
  }

  /** The room is joined: what waits may go. */
  open() {
    this.#open = true;
    this.#pump();
  }

  /** The room is not joined (any more): whatever had no answer counts as unsent. */
  pause() {
    this.#open = false;
    this.#outbox.lost();
    this.clock.clearTimeout(this.#timer);
  }

  /**
   * Nothing more will be sent.
   * @param {{code: string, message: string}} error
   */
  end(error) {
    this.pause();
    for (const entry of this.#outbox.entries) {
      if (entry.state === 'pending') this.#fail(entry, error);
    }
  }

  /**
   * Durable, by `ack` or by its own echo.
   * @param {string} id
   * @param {number} seq
   */
  delivered(id, seq) {
    const entry = this.#outbox.settle(id, seq);
    if (!entry) return;
    this.#finish(entry);
    this.#pump();
  }

  /**
   * @param {import('./protocol.js').ErrorFrame} error
   * @returns {boolean} whether it answered a message of this room
   */
  refused(error) {
    const answer = this.#outbox.refused(error, this.clock.now());
    if (!answer) return false;
    if (answer.verdict === 'final') this.#finish(answer.entry);
    if (answer.verdict === 'rejoin') this.options.onNotJoined();
    this.#pump();
    return true;
  }

  /** @param {string} id of a failed message */
  retry(id) {
    const entry = this.#outbox.retry(id);
    if (!entry) return false;
    this.options.onChange(entry);
    this.#pump();
    return true;
  }

  /** @param {string} id of a failed message */
  discard(id) {
    return this.#outbox.discard(id);
  }

  #pump() {
    if (!this.#open) return;
    const { link, room } = this.options;
    const now = this.clock.now();
    for (let entry; (entry = this.#outbox.next(now)); ) {
      const ref = link.nextRef();
      const outcome = link.send({ type: 'message', ref, room, id: entry.id, body: entry.body });
      if (outcome === 'offline') return;
      if (outcome === 'sent') this.#outbox.sent(entry, ref, now);
      else this.#fail(entry, { code: 'too_large', message: 'the message is larger than the hub takes' });
    }
    this.#wakeLater(now);
  }

  /** @param {number} now */
  #wakeLater(now) {
    this.clock.clearTimeout(this.#timer);
    if (this.#outbox.pendingCount === 0) return;
    const { sentAt, notBefore } = this.#outbox;
    const at = sentAt === null ? notBefore : sentAt + ACK_TIMEOUT_MS;
    const wake = () => {
      if (sentAt !== null) this.#outbox.lost();
      this.#pump();
    };
    this.#timer = this.clock.setTimeout(wake, Math.max(0, at - now));
  }

  /**
   * @param {Entry} entry
   * @param {{code: string, message: string}} error
   */
  #fail(entry, error) {
    this.#outbox.fail(entry, error);
    this.#finish(entry);
  }

  /** @param {Entry} entry */
  #finish(entry) {
    this.#settle.get(entry.id)?.(entry);
    this.#settle.delete(entry.id);
    this.options.onChange(entry);
  }
}
