// @ts-check
/**
 * Events out of the library: the hub and its rooms tell the page what happened through this, and nothing else.
 * A listener that throws is reported to the host and never stops the library or the listeners after it.
 */
export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * @param {string} event
   * @param {(detail: any) => void} listener
   * @returns {() => void} stops listening
   */
  on(event, listener) {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set);
    set.add(listener);
    return () => void set.delete(listener);
  }

  /**
   * @param {string} event
   * @param {(detail: any) => void} listener
   * @returns {() => void}
   */
  once(event, listener) {
    const off = this.on(event, (detail) => {
      off();
      listener(detail);
    });
    return off;
  }

  /**
   * @param {string} event
   * @param {any} [detail]
   */
  emit(event, detail) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
