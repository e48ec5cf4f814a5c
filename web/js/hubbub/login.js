// @ts-check
/**
 * Logging in once for all tabs and reloads: the hub gives the browser a session, whose cookie it sends by itself from then on, and
 * which no script can read. The same guest's session goes on as it is; a `login` for somebody else replaces it.
 */
import { HttpError } from './history.js';

/** @typedef {{name: string, guest_id?: string} | {token: string} | {email: string, code: string}} Login */

const OWN = '/api/sessions/current';

export class Session {
  /** Whether there has been a session for this page. */
  #begun = false;

  /**
   * @param {string} http base URL
   * @param {(url: string, init?: any) => Promise<any>} fetch
   */
  constructor(http, fetch) {
    this.http = http;
    this.fetch = fetch;
  }

  /**
   * Sees to it that there is a session for the login: a page's first connection asks for itself, later ones take whoever is logged in
   * by now, so that two tabs with two names do not log each other out for ever.
   * @param {Login} login
   * @param {'first' | 'again' | 'expired'} occasion
   */
  async ensure(login, occasion) {
    if (this.#begun && occasion === 'again') return;
    // Not asked for first: a browser reports every 401 as an error.
    await this.#ask('POST', '/api/sessions', { ...login, ...(this.#begun && { keep: true }) });
    this.#begun = true;
  }

  /** Uses the session, so that it lasts longer. */
  async use() {
    await this.#ask('GET', OWN);
  }

  /** Ends the session, in all tabs. */
  async end() {
    await this.#ask('DELETE', OWN);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   */
  async #ask(method, path, body) {
    const init = { method, credentials: 'include', headers: { accept: 'application/json' } };
    const sent = body && { body: JSON.stringify(body), headers: { ...init.headers, 'content-type': 'application/json' } };
    const response = await this.fetch(this.http + path, { ...init, ...sent });
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new HttpError(response.status, answer?.detail ?? `HTTP ${response.status}`);
    return answer;
  }
}
