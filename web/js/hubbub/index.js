// @ts-check
/**
 * The client library's front door. `connect` gives a hub, `hub.join` a room; see README.md two folders up for all of it.
 * No build step and no dependency: import this file from any page.
 */
import { hubAddress } from './address.js';
import { browserEnvironment } from './environment.js';
import { HttpApi } from './history.js';
import { Hub } from './hub.js';

export { Hub, HttpApi };
export { HttpError } from './history.js';
export { parseRoom } from './protocol.js';

/** @typedef {import('./room.js').Room} Room */
/** @typedef {import('./connection.js').ConnectionState} ConnectionState */
/** @typedef {import('./protocol.js').Message} Message */
/** @typedef {import('./protocol.js').User} User */
/** @typedef {import('./outbox.js').Entry} Entry */

/**
 * Connects to a hub and stays connected until `close`.
 * @param {import('./hub.js').HubOptions} [options]
 * @returns {Hub}
 */
export function connect(options = {}) {
  return new Hub(options);
}

/**
 * The HTTP side alone, for a page that wants to read before it connects.
 * @param {{url?: string, fetch?: (url: string, init?: any) => Promise<any>} & import('./address.js').Identity} [options]
 * @returns {HttpApi}
 */
export function openApi({ url, fetch = browserEnvironment().fetch, ...identity } = {}) {
  return new HttpApi(hubAddress(url, globalThis.location?.href).http, fetch, () => identity);
}
