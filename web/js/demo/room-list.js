// @ts-check
/**
 * The rooms that one may choose from, over HTTP, the liveliest first.
 *
 * @typedef {{room: string, online: number, unread: number, lastSeq: number}} RoomFacts
 */

const PROJECTS_MAX = 12;
const ROOMS_MAX = 8;

/**
 * @param {Pick<import('../hubbub/index.js').HttpApi, 'list'>} api
 * @returns {Promise<RoomFacts[]>} empty when the hub does not tell
 */
export async function listRooms(api) {
  const projects = await api.list('/api/projects', PROJECTS_MAX).catch(() => []);
  const lists = await Promise.all(
    projects.map(({ id }) => api.list(`/api/projects/${encodeURIComponent(id)}/rooms`).catch(() => [])),
  );
  const rooms = lists.flat().map((item) => ({
    room: item.room, online: item.online ?? 0, unread: item.unread ?? 0, lastSeq: item.last_seq ?? 0,
  }));
  return rooms.sort((a, b) => b.online - a.online || b.lastSeq - a.lastSeq).slice(0, ROOMS_MAX);
}

/** @param {RoomFacts} facts */
export function factsText({ online, lastSeq }) {
  const messages = lastSeq === 1 ? '1 message' : `${lastSeq.toLocaleString('en')} messages`;
  return online > 0 ? `${online} here, ${messages}` : messages;
}
