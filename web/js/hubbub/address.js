// @ts-check
/**
 * Where the hub is and who we say we are: the URL of the WebSocket and of the HTTP API, with the identity that both carry.
 * A browser cannot set headers on a WebSocket, so a token travels in its query; HTTP sends it as a bearer.
 */
import { parseRoom } from './protocol.js';

/** @typedef {{token?: string | null, name?: string | null, guestId?: string | null, session?: boolean}} Identity `session`: a cookie says it */

/**
 * @param {string | undefined} url of the hub: `ws(s)://…` or `http(s)://…`, with or without the `/ws` at its end
 * @param {string | undefined} pageUrl what a relative or missing `url` is relative to
 * @returns {{ws: string, http: string}} both without query; `http` without a slash at its end
 */
export function hubAddress(url, pageUrl) {
  const parsed = new URL(url ?? '/', pageUrl);
  const secure = parsed.protocol === 'wss:' || parsed.protocol === 'https:';
  const base = parsed.host + parsed.pathname.replace(/\/(ws)?\/?$/, '');
  return { ws: `${secure ? 'wss' : 'ws'}://${base}/ws`, http: `${secure ? 'https' : 'http'}://${base}` };
}

/**
 * @param {string} ws
 * @param {Identity} identity
 */
export function socketUrl(ws, identity) {
  const query = identity.token ? new URLSearchParams({ token: identity.token }) : guestQuery(identity);
  const text = query.toString();
  return text ? `${ws}?${text}` : ws;
}

/**
 * @param {string} http
 * @param {string} path
 * @param {Record<string, string | number | undefined>} params
 * @param {Identity} identity
 * @returns {{url: string, headers: Record<string, string>}}
 */
export function apiRequest(http, path, params, identity) {
  const query = identity.token ? new URLSearchParams() : guestQuery(identity);
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined) query.set(key, String(value));
  }
  const text = query.toString();
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  if (identity.token) headers.authorization = `Bearer ${identity.token}`;
  return { url: http + path + (text ? `?${text}` : ''), headers };
}

/**
 * What `fetch` needs to send the session's cookie to a hub on another origin; asked for only where there is a session, since browsers
 * then refuse answers that are for everybody.
 * @param {Identity} identity
 */
export function withSession(identity) {
  return identity.session ? { credentials: 'include' } : {};
}

/** @param {string} room `project/room` */
export function messagesPath(room) {
  const parts = parseRoom(room);
  if (!parts) throw new RangeError(`not a room name: ${room}`);
  return `/api/projects/${parts.project}/rooms/${parts.room}/messages`;
}

/** @param {Identity} identity */
function guestQuery({ name, guestId }) {
  const query = new URLSearchParams();
  if (name) query.set('name', name);
  if (guestId) query.set('guest_id', guestId);
  return query;
}
