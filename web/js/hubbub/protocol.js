// @ts-check
/**
 * The wire as the client sees it: frame shapes, limits, and what each close code and error code asks of the client.
 * Everything else in the library speaks in these terms; nothing here sends, waits or remembers.
 *
 * @typedef {{user_id: string, name: string, color?: string, avatar_url?: string}} User
 * @typedef {{user_id: string, name: string, connection_id: string}} From
 * @typedef {{connection_id: string, state: Record<string, unknown>, joined_at: string}} MemberConnection
 * @typedef {{seq: number, id: string, from: From, body: unknown, sent_at: string}} Message
 * @typedef {{connection_id: string, position: any}} CursorEntry
 * @typedef {{user: User, connections: MemberConnection[]}} MemberEntry
 *
 * @typedef {{type: 'welcome', protocol: number, connection_id: string, user: User, heartbeat_interval_ms: number,
 *   presence_ttl_ms: number, max_frame_bytes: number, server_time: string}} WelcomeFrame
 * @typedef {{type: 'joined', ref?: number, room: string, seq: number, recovered: boolean, members_total?: number,
 *   members: MemberEntry[], cursors?: CursorEntry[], messages: Message[]}} JoinedFrame
 * @typedef {{type: 'presence', room: string,
 *   joins?: {user: User, connection_id: string, state: Record<string, unknown>, joined_at: string, first: boolean}[],
 *   leaves?: {user_id: string, connection_id: string, reason: string, last: boolean}[],
 *   updates?: {user_id: string, connection_id: string, state: Record<string, unknown>}[]}} PresenceFrame
 * @typedef {{type: 'error', ref?: number, code: string, message: string, retry_after_ms?: number}} ErrorFrame
 */

export const SUBPROTOCOL = 'hubbub.v1';

/** Limits of the hub on what one client may say. */
export const PRESENCE_BYTES_MAX = 4 * 1024;
export const CURSOR_BYTES_MAX = 1024;

/** Used until `welcome` says otherwise. */
export const HEARTBEAT_INTERVAL_MS = 10_000;
export const FRAME_BYTES_MAX = 64 * 1024;

/** Lanes are rate limited by the hub; the client stays well below, so that a limit is news and not the rule. */
export const CURSOR_INTERVAL_MS = 33; // about 30 a second of 60 allowed
export const PRESENCE_INTERVAL_MS = 200; // 5 a second of 10 allowed
export const READ_INTERVAL_MS = 1_000;

/**
 * What a closed socket asks for: connect again, get a new token first, or stop.
 * Unknown codes, 1006 (the network) and 4400/4408/4429/4508 are all answered by coming back, later each time.
 * @param {number} code
 * @returns {'retry' | 'token' | 'stop'}
 */
export function closeVerdict(code) {
  if (code === 4401) return 'token';
  if (code === 4403) return 'stop';
  return 'retry';
}

/**
 * What an `error` answer means for the frame it answers.
 *   later   the hub cannot take it now: keep it and send it again
 *   rejoin  the hub does not see us in the room: join, then send it again
 *   few     a fault in the hub: a few more tries, then give up
 *   final   sending the same again can only fail again
 * @param {string} code
 * @returns {'later' | 'rejoin' | 'few' | 'final'}
 */
export function errorVerdict(code) {
  switch (code) {
    case 'rate_limited':
    case 'unavailable':
      return 'later';
    case 'not_joined':
      return 'rejoin';
    case 'internal':
      return 'few';
    default:
      return 'final';
  }
}

const PART = '[a-z0-9][a-z0-9_-]{0,63}';
const ROOM = new RegExp(`^(${PART})/(${PART})$`);

/**
 * @param {string} name `project/room`
 * @returns {{project: string, room: string} | null} null when the hub would refuse the name
 */
export function parseRoom(name) {
  const match = ROOM.exec(name);
  return match ? { project: match[1], room: match[2] } : null;
}

const encoder = new TextEncoder();

/** @param {string} text */
export function byteLength(text) {
  return encoder.encode(text).length;
}
