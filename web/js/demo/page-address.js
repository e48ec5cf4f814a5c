// @ts-check
/**
 * What the page's own address asks for: a room by `#project/room` or `?room=`, a name, a token. Pure.
 * A token must not stay where it is seen and copied, so the address without it is given back too.
 */
import { parseRoom } from '../hubbub/index.js';

/**
 * @param {string} href
 * @returns {{name: string, room: string, token: string, isDirect: boolean, clean: string}} empty strings for what is not asked for;
 *   `isDirect`: enter without asking; `clean`: the address to show instead
 */
export function readAddress(href) {
  const url = new URL(href);
  const take = (/** @type {string} */ key) => (url.searchParams.get(key) ?? '').trim();
  const [name, queryRoom, token] = ['name', 'room', 'token'].map(take);
  const room = roomOfHash(url.hash) || (parseRoom(queryRoom) ? queryRoom : '');
  for (const key of ['name', 'room', 'token']) url.searchParams.delete(key);
  url.hash = room;
  return { name, room, token, isDirect: room !== '' && queryRoom !== '' && (name !== '' || token !== ''), clean: url.href };
}

/** @param {string} hash */
export function roomOfHash(hash) {
  const room = decodeURIComponentSafely(hash.replace(/^#/, ''));
  return parseRoom(room) ? room : '';
}

/**
 * Makes a room name of what a person typed: `Design Team/Stand up!` is `design-team/stand-up`; without a project it is in `demo`.
 * @param {string} typed
 * @returns {string} empty when nothing is left
 */
export function roomOfText(typed) {
  const parts = typed.split('/').map(slug).filter(Boolean);
  const room = parts.length === 1 ? `demo/${parts[0]}` : parts.slice(0, 2).join('/');
  return parseRoom(room) ? room : '';
}

/** @param {string} text */
function slug(text) {
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  return plain.replace(/[^a-z0-9_]+/g, '-').replace(/^[-_]+|-+$/g, '').slice(0, 64);
}

/** @param {string} text */
function decodeURIComponentSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
