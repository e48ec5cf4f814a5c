// @ts-check
/**
 * Who is typing, and when to say that we are. Pure: time comes in as an argument.
 * The event is ephemeral: it may be lost, and a person may vanish in mid-word, so it expires by itself.
 */

/** How long one event holds. */
export const TYPING_MS = 3_000;
/** How often we say so while typing; less than half of what it holds, so that one lost event is not seen. */
const REPEAT_MS = 1_300;

export class Typists {
  /** @type {Map<string, {name: string, until: number}>} by user id */
  #typing = new Map();

  /**
   * @param {{user_id: string, name: string}} from
   * @param {any} data `{"typing": false}` ends it
   * @param {number} now
   */
  heard(from, data, now) {
    if (data?.typing === false) this.#typing.delete(from.user_id);
    else this.#typing.set(from.user_id, { name: from.name, until: now + TYPING_MS });
  }

  /** A message of theirs arrived, or they are gone. @param {string} userId */
  ended(userId) {
    this.#typing.delete(userId);
  }

  /** @param {number} now @returns {string[]} names */
  names(now) {
    for (const [id, { until }] of this.#typing) if (until <= now) this.#typing.delete(id);
    return [...this.#typing.values()].map(({ name }) => name);
  }
}

/** @param {string[]} names */
export function typingText(names) {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} more are typing`;
}

/** Our own side: what to broadcast when the text changes. */
export class TypingSignal {
  #saidAt = -Infinity;

  /**
   * @param {boolean} isEmpty
   * @param {number} now
   * @returns {{typing: boolean} | null} what to say, if anything
   */
  changed(isEmpty, now) {
    if (isEmpty) {
      const wasTyping = now - this.#saidAt < TYPING_MS;
      this.#saidAt = -Infinity;
      return wasTyping ? { typing: false } : null;
    }
    if (now - this.#saidAt < REPEAT_MS) return null;
    this.#saidAt = now;
    return { typing: true };
  }

  /** A message ends it for everyone who gets it: nothing more to say. */
  sent() {
    this.#saidAt = -Infinity;
  }
}
