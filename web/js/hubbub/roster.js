// @ts-check
/**
 * Who is in one room, through which connections, and where their cursors are: a replica built from `joined` and kept by
 * presence and cursor frames. Pure.
 *
 * @typedef {import('./protocol.js').User} User
 * @typedef {import('./protocol.js').MemberConnection} MemberConnection
 * @typedef {{user: User, connections: Map<string, MemberConnection>}} Member
 */

export class Roster {
  /** @type {Map<string, Member>} by user id, in order of arrival */
  members = new Map();
  /** @type {Map<string, any>} position by connection id */
  cursors = new Map();
  /** Users in the room, listed or not: the hub lists at most 200. */
  total = 0;

  /** @param {import('./protocol.js').JoinedFrame} joined */
  reset(joined) {
    this.members = new Map();
    this.cursors = new Map();
    for (const { user, connections } of joined.members) {
      this.members.set(user.user_id, {
        user,
        connections: new Map(connections.map((connection) => [connection.connection_id, connection])),
      });
    }
    this.total = joined.members_total ?? this.members.size;
    this.moveCursors(joined.cursors ?? []);
  }

  /**
   * Departures are taken first: a page that reloads leaves and comes within one diff.
   * @param {import('./protocol.js').PresenceFrame} diff
   * @returns {{arrived: User[], gone: User[], changed: string[]}} users who came and went (not their further tabs), and the
   *   ids of all users whose entry changed
   */
  apply({ joins = [], leaves = [], updates = [] }) {
    /** @type {Set<string>} */
    const changed = new Set();
    /** @type {User[]} */
    const gone = [];
    for (const leave of leaves) {
      changed.add(leave.user_id);
      this.cursors.delete(leave.connection_id);
      const member = this.members.get(leave.user_id);
      member?.connections.delete(leave.connection_id);
      if (leave.last) this.total = Math.max(0, this.total - 1);
      if (!member || (!leave.last && member.connections.size > 0)) continue;
      for (const id of member.connections.keys()) this.cursors.delete(id);
      this.members.delete(leave.user_id);
      gone.push(member.user);
    }
    /** @type {User[]} */
    const arrived = [];
    for (const { user, connection_id, state, joined_at, first } of joins) {
      changed.add(user.user_id);
      if (first) this.total += 1;
      const member = this.members.get(user.user_id);
      if (!member) arrived.push(user);
      const connections = member?.connections ?? new Map();
      connections.set(connection_id, { connection_id, state, joined_at });
      this.members.set(user.user_id, { user, connections });
    }
    for (const { user_id, connection_id, state } of updates) {
      const connection = this.members.get(user_id)?.connections.get(connection_id);
      if (!connection) continue;
      connection.state = state;
      changed.add(user_id);
    }
    this.total = Math.max(this.total, this.members.size);
    return { arrived, gone, changed: [...changed] };
  }

  /** @param {import('./protocol.js').CursorEntry[]} cursors `position: null` hides one */
  moveCursors(cursors) {
    for (const { connection_id, position } of cursors) {
      if (position === null || position === undefined) this.cursors.delete(connection_id);
      else this.cursors.set(connection_id, position);
    }
  }

  /**
   * @param {string} connectionId
   * @returns {User | null}
   */
  ownerOf(connectionId) {
    for (const { user, connections } of this.members.values()) {
      if (connections.has(connectionId)) return user;
    }
    return null;
  }
}
