// @ts-check
/**
 * The messages of one room as this client holds them: one unbroken run of `seq`, oldest first. Pure.
 *
 * Invariant: `messages` has no hole and no double. What arrives beyond a hole waits until the hole is filled, so everyone
 * sees the same order; `head`, the end of the run, is therefore exactly what a resume may give as `since`.
 */

/** @typedef {import('./protocol.js').Message} Message */

export class Timeline {
  /** @type {Message[]} */
  messages = [];
  /** @type {number | null} null before the first join */
  #head = null;
  /** @type {Map<number, Message>} beyond a hole */
  #waiting = new Map();
  /** The highest seq that the hub is known to have. */
  #known = 0;
  #keep;

  /** @param {{keep?: number}} [options] how many messages a long-open page holds; older ones are paged in again */
  constructor({ keep = 5_000 } = {}) {
    this.#keep = keep;
  }

  get head() {
    return this.#head;
  }

  /** The oldest seq held, or the one that would come next if none is. */
  get first() {
    return this.messages[0]?.seq ?? (this.#head ?? 0) + 1;
  }

  /**
   * Begins anew with what the hub sent on a first join.
   * @param {Message[]} messages
   * @param {number} seq the room's head
   */
  start(messages, seq) {
    const sorted = [...messages].sort((a, b) => a.seq - b.seq);
    this.clear();
    this.#head = sorted.length > 0 ? sorted[0].seq - 1 : seq;
    this.#known = seq;
    this.accept(sorted);
  }

  /** Forgets everything: the next join is a first one. */
  clear() {
    this.messages = [];
    this.#head = null;
    this.#known = 0;
    this.#waiting.clear();
  }

  /**
   * Takes live, replayed or paged messages in any order and any number of times.
   * @param {Message[]} messages
   * @returns {{delivered: Message[], trimmed: number, conflict: boolean}} what is new, in order. `conflict`: another message stands
   *   under a seq that we have passed, so the room behind this name is not the one we knew (its data was replaced).
   */
  accept(messages) {
    let conflict = false;
    for (const message of messages) {
      if (message.seq > (this.#head ?? 0)) this.#waiting.set(message.seq, message);
      else if (this.messages[message.seq - this.first]?.id !== message.id) conflict = true;
    }
    /** @type {Message[]} */
    const delivered = [];
    for (let next; (next = this.#waiting.get((this.#head ?? 0) + 1)); ) {
      this.#waiting.delete(next.seq);
      this.#head = next.seq;
      delivered.push(next);
    }
    this.messages.push(...delivered);
    const trimmed = Math.max(0, this.messages.length - this.#keep);
    this.messages.splice(0, trimmed);
    return { delivered, trimmed, conflict };
  }

  /**
   * The hub says that the room has come this far.
   * @param {number} seq
   */
  expect(seq) {
    this.#known = Math.max(this.#known, seq);
  }

  /** What is missing between the run and the next thing known, exclusive on both sides. */
  get hole() {
    const head = this.#head ?? 0;
    if (this.#waiting.size > 0) return { after: head, before: Math.min(...this.#waiting.keys()) };
    return this.#known > head ? { after: head, before: this.#known + 1 } : null;
  }

  /**
   * Gives up on the older part of the hole. The run starts anew behind it, and what lies before can be paged in like any older history.
   * @param {number} before the first seq that is still wanted
   */
  skipTo(before) {
    this.messages = [];
    this.#head = before - 1;
    return this.accept([]);
  }

  /**
   * Older history, in front.
   * @param {Message[]} messages
   * @returns {Message[]} those that were new, oldest first
   */
  prepend(messages) {
    /** @type {Message[]} */
    const added = [];
    for (const message of [...messages].sort((a, b) => b.seq - a.seq)) {
      const before = added.at(-1)?.seq ?? this.first;
      if (message.seq === before - 1) added.push(message);
    }
    added.reverse();
    this.messages.unshift(...added);
    // Who scrolls back wants to keep what was loaded: the bound is for pages that only sit there.
    this.#keep = Math.max(this.#keep, this.messages.length);
    return added;
  }
}
