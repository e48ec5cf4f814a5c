// @ts-check
/**
 * What the library needs from the world: sockets, time, randomness, HTTP, ids, and to be told when the page wakes up.
 * The only file that names browser globals; tests (and other hosts) pass their own through `connect`.
 *
 * @typedef {{now: () => number, setTimeout: (fn: () => void, ms: number) => any, clearTimeout: (timer: any) => void}} Clock
 *   `now` is monotonic, in milliseconds
 * @typedef {object} SocketLike the part of a WebSocket that is used
 * @property {number} bufferedAmount
 * @property {number} readyState
 * @property {((event?: any) => void) | null} onopen
 * @property {((event: {data: any}) => void) | null} onmessage
 * @property {((event: {code: number, reason?: string}) => void) | null} onclose
 * @property {((event?: any) => void) | null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 *
 * @typedef {object} Environment
 * @property {Clock} clock
 * @property {() => number} random in [0, 1)
 * @property {() => string} newId a UUID
 * @property {(url: string, protocols: string[]) => SocketLike} openSocket
 * @property {(url: string, init?: any) => Promise<any>} fetch
 * @property {(wake: () => void, sleep: () => void) => () => void} onWake calls `wake` when the network or the page is back, `sleep` when
 *   the page is put away for the back button; returns how to stop
 */

/** @returns {Environment} */
export function browserEnvironment() {
  return {
    clock: {
      now: () => performance.now(),
      setTimeout: (fn, ms) => setTimeout(fn, ms),
      clearTimeout: (timer) => clearTimeout(timer),
    },
    random: Math.random,
    newId,
    openSocket: (url, protocols) => /** @type {any} */ (new WebSocket(url, protocols)),
    fetch: (url, init) => fetch(url, init),
    onWake,
  };
}

/**
 * A UUID of version 7: ids that begin with the time keep the database's index together. (The browser's own `randomUUID` makes
 * version 4, and on secure origins only.)
 */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let at = 5; at >= 0; at -= 1) {
    bytes[at] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** @param {() => void} wake @param {() => void} sleep */
function onWake(wake, sleep) {
  if (typeof window === 'undefined') return () => {};
  const ifVisible = () => {
    if (document.visibilityState === 'visible') wake();
  };
  const ifKept = (/** @type {PageTransitionEvent} */ { persisted }) => {
    if (persisted) sleep();
  };
  window.addEventListener('online', wake);
  window.addEventListener('pageshow', ifVisible);
  window.addEventListener('pagehide', ifKept);
  document.addEventListener('visibilitychange', ifVisible);
  return () => {
    window.removeEventListener('online', wake);
    window.removeEventListener('pageshow', ifVisible);
    window.removeEventListener('pagehide', ifKept);
    document.removeEventListener('visibilitychange', ifVisible);
  };
}
