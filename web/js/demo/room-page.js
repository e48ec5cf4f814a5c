// @ts-check
/**
 * A visit to one room, from entering to leaving: connects, joins, and lets each part of the page be wired to it. What a part needs
 * to know of the visit is in `Visit`; the parts do not know each other.
 */
import { connect } from '../hubbub/index.js';
import { ConnectionView } from './connection-view.js';
import { byId, listen, setText } from './dom.js';
import { Colors } from './people.js';
import { wireBoard } from './wire-board.js';
import { wireChat } from './wire-chat.js';
import { wirePeople } from './wire-people.js';

/**
 * @typedef {object} Visit
 * @property {import('../hubbub/index.js').Hub} hub
 * @property {import('../hubbub/index.js').Room} room
 * @property {string} ownName as entered; the hub's word in `hub.user` counts once it is there
 * @property {Colors} colors
 * @property {AbortSignal} signal aborted when the visit ends
 */

/**
 * @param {object} options
 * @param {string} options.roomName
 * @param {Pick<import('../hubbub/hub.js').HubOptions, 'token' | 'login'>} options.visitor
 * @param {string} options.ownName
 * @param {(isUnauthorized: boolean) => void} options.onLeave `isUnauthorized`: the hub does not take the token (any more)
 * @param {(error: {code: string, message: string}) => void} options.onRefused
 * @returns {() => void} ends the visit
 */
export function visit({ roomName, visitor, ownName, onLeave, onRefused }) {
  const ending = new AbortController();
  const { signal } = ending;
  const hub = connect(visitor);
  const room = hub.join(roomName, { presence: presenceState() });
  /** @type {Visit} */
  const visit = { hub, room, ownName, colors: new Colors(), signal };

  byId('room-page').hidden = false;
  wireBar(visit, onLeave);
  wirePeople(visit);
  wireBoard(visit);
  wireChat(visit);
  room.on('refused', onRefused);
  listen(document, 'visibilitychange', () => room.setPresence(presenceState()), signal);

  return () => {
    ending.abort();
    hub.close();
    byId('room-page').hidden = true;
  };
}

/** A hidden tab is away; whether the person is, depends on their other tabs. */
function presenceState() {
  return { away: document.visibilityState === 'hidden' };
}

/** @param {Visit} visit @param {(isUnauthorized: boolean) => void} onLeave */
function wireBar({ hub, room, signal }, onLeave) {
  const [project, name] = room.name.split('/');
  setText(byId('place-project'), project);
  setText(byId('place-room'), name);

  const connection = new ConnectionView({ onRetry: () => hub.retryNow(), signal });
  const showConnection = () => connection.show(hub.state, room.state);
  hub.on('state', showConnection);
  room.on('state', showConnection);
  showConnection();

  const copy = byId('copy-link');
  setText(copy, 'Copy link');
  listen(copy, 'click', () => void copyLink(copy, signal), signal);
  listen(byId('leave'), 'click', () => onLeave(hub.state.reason === 'unauthorized'), signal);
}

/** @param {HTMLElement} button @param {AbortSignal} signal */
async function copyLink(button, signal) {
  // Without a secure origin there is no clipboard; the address is in the address bar.
  const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  setText(button, done ? 'Copied' : 'Copy it from the address bar');
  setTimeout(() => !signal.aborted && setText(button, 'Copy link'), 2_000);
}
