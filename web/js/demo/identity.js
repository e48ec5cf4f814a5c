// @ts-check
/**
 * Who this browser says it is: the last name used, and one guest id per name, so that several tabs under one name are one person, two
 * people of one name are two, and somebody who comes back under a name after their session ended is who they were. (One session per
 * browser: a new name in one tab is the new name of all.) Works without storage, then only for this page.
 */
const KEY = 'hubbub.guests';
const NAMES_MAX = 20;

/** @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} Store */

export class Identities {
  /** @type {Map<string, string>} name to guest id, the last used at the end */
  #guests;

  /**
   * @param {Store} store
   * @param {() => string} newId
   */
  constructor(store, newId) {
    this.store = store;
    this.newId = newId;
    this.#guests = new Map(readEntries(store));
  }

  get lastName() {
    return [...this.#guests.keys()].at(-1) ?? '';
  }

  /** @param {string} name @returns {string} the id under which this browser has this name */
  guestId(name) {
    for (const [known, id] of readEntries(this.store)) this.#guests.set(known, id); // another tab may have been first
    const id = this.#guests.get(name) ?? this.newId();
    this.#guests.delete(name);
    this.#guests.set(name, id);
    const kept = [...this.#guests].slice(-NAMES_MAX);
    this.store.setItem(KEY, JSON.stringify(kept));
    return id;
  }
}

/** @param {Store} store @returns {[string, string][]} */
function readEntries(store) {
  try {
    const entries = JSON.parse(store.getItem(KEY) ?? '[]');
    return entries.filter((/** @type {any} */ entry) => entry.every((/** @type {any} */ part) => typeof part === 'string'));
  } catch {
    return [];
  }
}

/**
 * The browser's storage, or one that forgets: with storage blocked even looking at it throws.
 * @param {() => Storage} find
 * @returns {Store}
 */
export function storeOrMemory(find) {
  try {
    const store = find();
    store.getItem(KEY);
    return store;
  } catch {
    /** @type {Map<string, string>} */
    const memory = new Map();
    return {
      getItem: (key) => memory.get(key) ?? null,
      setItem: (key, value) => void memory.set(key, value),
      removeItem: (key) => void memory.delete(key),
    };
  }
}
