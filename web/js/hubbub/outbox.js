// @ts-check
/**
 * Messages of one room that the hub has not yet acknowledged, in the order in which they were written. Pure: it decides
 * what may be sent and what an answer means; sending and waiting are the sender's.
 *
 * Invariant: at most one message of a room is on its way. The hub then stores a person's messages in the order they wrote
 * them, whatever is refused, lost or repeated in between. It costs one round trip per message, which is faster than a
 * connection may send anyway.
 * Invariant: a message keeps its id through every retry, so that the hub stores it once.
 */
import { errorVerdict } from './protocol.js';

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {unknown} body
 * @property {'pending' | 'delivered' | 'failed'} state
 * @property {number | null} seq known once delivered
 * @property {{code: string, message: string} | null} error why it failed
 */

const RETRY_BASE_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** `internal` may be a bug that this very message triggers: it must not block the ones behind it for ever. */
const INTERNAL_TRIES_MAX = 5;

export class Outbox {
  /** @type {Entry[]} pending, oldest first */
  #queue = [];
  /** @type {Map<string, Entry>} */
  #failed = new Map();
  /** @type {{entry: Entry, ref: number, sentAt: number} | null} */
  #inFlight = null;
  #notBefore = -Infinity;
  #refusals = 0;

  /** Pending messages, oldest first, then the failed ones. */
  get entries() {
    return [...this.#queue, ...this.#failed.values()];
  }

  get pendingCount() {
    return this.#queue.length;
  }

  /** When the message on its way was sent, or null. */
  get sentAt() {
    return this.#inFlight?.sentAt ?? null;
  }

  /** When the next message may go, if it has to wait. */
  get notBefore() {
    return this.#notBefore;
  }

  /**
   * @param {string} id
   * @param {unknown} body
   * @returns {Entry}
   */
  add(id, body) {
    /** @type {Entry} */
    const entry = { id, body, state: 'pending', seq: null, error: null };
    this.#queue.push(entry);
    return entry;
  }

  /**
   * The message to send now, if any.
   * @param {number} now
   * @returns {Entry | null}
   */
  next(now) {
    if (this.#inFlight || now < this.#notBefore) return null;
    return this.#queue[0] ?? null;
  }

  /**
   * @param {Entry} entry
   * @param {number} ref
   * @param {number} now
   */
  sent(entry, ref, now) {
    this.#inFlight = { entry, ref, sentAt: now };
  }

  /** The connection is gone, or the answer is overdue: nobody knows whether it arrived, so it will be sent again. */
  lost() {
    this.#inFlight = null;
  }

  /**
   * The message is durable: by its `ack`, or because it came back with its `seq`.
   * @param {string} id
   * @param {number} seq
   * @returns {Entry | null} null when it was not pending
   */
  settle(id, seq) {
    const entry = this.#take(id);
    if (!entry) return null;
    entry.state = 'delivered';
    entry.seq = seq;
    entry.error = null;
    this.#refusals = 0;
    return entry;
  }

  /**
   * @param {import('./protocol.js').ErrorFrame} error
   * @param {number} now
   * @returns {{entry: Entry, verdict: 'later' | 'rejoin' | 'final'} | null} null when it answers something else
   */
  refused(error, now) {
    if (!this.#inFlight || this.#inFlight.ref !== error.ref) return null;
    const { entry } = this.#inFlight;
    this.#inFlight = null;
    this.#refusals += 1;
    let verdict = errorVerdict(error.code);
    if (verdict === 'few') verdict = this.#refusals < INTERNAL_TRIES_MAX ? 'later' : 'final';
    if (verdict === 'final') {
      this.fail(entry, error);
    } else {
      const wait = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** (this.#refusals - 1));
      this.#notBefore = now + (error.retry_after_ms ?? wait);
    }
    return { entry, verdict };
  }

  /**
   * Gives up on a message; it stays known, so that it can be retried or discarded by the person.
   * @param {Entry} entry
   * @param {{code: string, message: string}} error
   */
  fail(entry, { code, message }) {
    this.#take(entry.id);
    entry.state = 'failed';
    entry.error = { code, message };
    this.#failed.set(entry.id, entry);
    this.#refusals = 0;
  }

  /**
   * A failed message goes to the end of the queue, under its old id.
   * @param {string} id
   * @returns {Entry | null}
   */
  retry(id) {
    const entry = this.#failed.get(id);
    if (!entry) return null;
    this.#failed.delete(id);
    entry.state = 'pending';
    entry.error = null;
    this.#queue.push(entry);
    return entry;
  }

  /**
   * Forgets a failed message. A pending one may already be stored, so it cannot be taken back.
   * @param {string} id
   */
  discard(id) {
    return this.#failed.delete(id);
  }

  /** @param {string} id */
  #take(id) {
    if (this.#inFlight?.entry.id === id) this.#inFlight = null;
    const failed = this.#failed.get(id);
    if (failed) this.#failed.delete(id);
    const at = this.#queue.findIndex((entry) => entry.id === id);
    return at < 0 ? (failed ?? null) : this.#queue.splice(at, 1)[0];
  }
}
