// @ts-check
/**
 * The read side over HTTP: pages of a room's messages, and whatever else the API offers. Every call carries the same identity
 * as the socket; answers that are not 2xx become an `HttpError` with the words of the hub's problem document.
 */
import { apiRequest, messagesPath, withSession } from './address.js';

/** @typedef {import('./protocol.js').Message} Message */

export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
  }
}

export class HttpApi {
  /**
   * @param {string} http base URL
   * @param {(url: string, init?: any) => Promise<any>} fetch
   * @param {() => import('./address.js').Identity} identity
   */
  constructor(http, fetch, identity) {
    this.http = http;
    this.fetch = fetch;
    this.identity = identity;
  }

  /**
   * @param {string} path
   * @param {Record<string, string | number | undefined>} [params]
   * @returns {Promise<any>}
   */
  async get(path, params = {}) {
    const identity = this.identity();
    const { url, headers } = apiRequest(this.http, path, params, identity);
    const response = await this.fetch(url, { headers, ...withSession(identity) });
    const body = await response.json().catch(() => null);
    if (!response.ok) throw new HttpError(response.status, body?.detail ?? body?.title ?? `HTTP ${response.status}`);
    return body;
  }

  /**
   * The whole of a list, page by page, at most `most` entries.
   * @param {string} path
   * @param {number} [most]
   * @returns {Promise<any[]>}
   */
  async list(path, most = 200) {
    /** @type {any[]} */
    const items = [];
    for (let cursor; items.length < most; ) {
      const page = await this.get(path, { cursor });
      items.push(...page.items);
      cursor = page.next ?? undefined;
      if (!cursor || page.items.length === 0) break;
    }
    return items.slice(0, most);
  }

  /**
   * @param {string} room
   * @param {{before: number, limit: number} | {after: number, limit: number}} range exclusive
   * @returns {Promise<Message[]>} in any order
   */
  async messages(room, range) {
    const page = await this.get(messagesPath(room), range);
    return page.items;
  }
}
