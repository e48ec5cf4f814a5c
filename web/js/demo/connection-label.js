// @ts-check
/**
 * The connection in words, and as one of five states. Pure. Live means: the hub answers and the room is joined; anything less
 * is called what it is.
 */

/**
 * @param {import('../hubbub/index.js').ConnectionState} connection
 * @param {import('../hubbub/index.js').Room['state']} room
 * @returns {{state: string, label: string, news: string}} `news` changes only when there is something to announce, not with every second
 */
export function connectionLabel(connection, room) {
  const { state, retryInMs } = connection;
  switch (state) {
    case 'reconnecting': {
      const label = retryInMs ? `Reconnecting in ${Math.ceil(retryInMs / 1_000)} s` : 'Reconnecting';
      return { state, label, news: 'Connection lost, reconnecting' };
    }
    case 'closed':
      return { state, label: closedLabel(connection.reason), news: closedLabel(connection.reason) };
    case 'connecting':
      return { state, label: 'Connecting', news: '' };
  }
  if (room === 'joining') return { state: 'connecting', label: 'Joining', news: '' };
  if (state === 'live') return { state, label: 'Live', news: 'Connected' };
  const label = degradedLabel(connection.reasons);
  return { state, label, news: label };
}

/** @param {string[]} reasons */
function degradedLabel(reasons) {
  if (reasons.includes('redis')) return 'Degraded: only this instance';
  return reasons.length > 0 ? `Degraded: ${reasons.join(', ')}` : 'Degraded';
}

/** @param {string} reason */
function closedLabel(reason) {
  if (reason === 'unauthorized') return 'Closed: not signed in';
  return reason === 'forbidden' ? 'Closed: no access' : 'Closed';
}
