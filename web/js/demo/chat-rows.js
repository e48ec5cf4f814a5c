// @ts-check
/**
 * Messages as rows of the chat: what is shown of a body, whose it is, how far it has got, and where a new group or day begins. Pure.
 *
 * @typedef {object} Row
 * @property {string} id
 * @property {number | null} seq
 * @property {'pending' | 'delivered' | 'failed'} state
 * @property {string} userId
 * @property {string} name
 * @property {string} text
 * @property {string | null} at RFC 3339
 * @property {string} problem why it failed
 */

/** A pause this long begins a new group of the same person. */
const GROUP_MS = 5 * 60_000;

/** @param {import('../hubbub/index.js').Message} message @returns {Row} */
export function rowOfMessage({ id, seq, from, body, sent_at }) {
  return { id, seq, state: 'delivered', userId: from.user_id, name: from.name, text: textOf(body), at: sent_at, problem: '' };
}

/**
 * @param {import('../hubbub/index.js').Entry} entry
 * @param {{user_id: string, name: string}} self
 * @param {string} at when it was written
 * @returns {Row}
 */
export function rowOfEntry({ id, seq, state, body, error }, self, at) {
  return { id, seq, state, userId: self.user_id, name: self.name, text: textOf(body), at, problem: error ? problemOf(error) : '' };
}

/** Others may send any JSON: a text is shown as it is, all else as JSON. @param {any} body */
export function textOf(body) {
  if (typeof body === 'string') return body;
  return typeof body?.text === 'string' ? body.text : JSON.stringify(body);
}

/**
 * @param {Row | null} before
 * @param {Row} row
 */
export function startsDay(before, row) {
  return !before || new Date(before.at ?? '').toDateString() !== new Date(row.at ?? '').toDateString();
}

/**
 * @param {Row | null} before
 * @param {Row} row
 */
export function startsGroup(before, row) {
  if (!before || before.userId !== row.userId || startsDay(before, row)) return true;
  return Date.parse(row.at ?? '') - Date.parse(before.at ?? '') > GROUP_MS;
}

/** @param {{code: string, message: string}} error */
function problemOf({ code, message }) {
  switch (code) {
    case 'forbidden': return 'Not delivered: you may not write here.';
    case 'too_large': return 'Not delivered: too long.';
    case 'outbox_full': return 'Not delivered: too many are waiting.';
    default: return `Not delivered: ${message}`;
  }
}
