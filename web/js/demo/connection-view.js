// @ts-check
/** The pill that says how the connection is. Touches the pill, the button beside it, the announcement for screen
 * readers, and a mark on the page by which what may be out of date is dimmed. */
import { connectionLabel } from './connection-label.js';
import { byId, listen, setText } from './dom.js';

export class ConnectionView {
  #pill = byId('connection');
  #retry = byId('retry-now');

  /** @param {{onRetry: () => void, signal: AbortSignal}} options */
  constructor({ onRetry, signal }) {
    listen(this.#retry, 'click', onRetry, signal);
  }

  /**
   * @param {import('../hubbub/index.js').ConnectionState} connection
   * @param {import('../hubbub/index.js').Room['state']} room
   */
  show(connection, room) {
    const { state, label, news } = connectionLabel(connection, room);
    this.#pill.dataset.state = state;
    byId('room-page').dataset.link = state;
    setText(byId('connection-label'), label);
    setText(byId('connection-news'), news);
    this.#retry.hidden = state !== 'closed' && !(state === 'reconnecting' && (connection.retryInMs ?? 0) > 1_500);
  }
}
