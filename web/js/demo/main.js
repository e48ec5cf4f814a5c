// @ts-check
/**
 * The demo page starts here: reads its address, shows the door or goes straight into the room, and keeps address and room together
 * (back and forward, deep links, reloads).
 */
import { openApi } from '../hubbub/index.js';
import { browserEnvironment } from '../hubbub/environment.js';
import { EntryView } from './entry-view.js';
import { Identities, storeOrMemory } from './identity.js';
import { readAddress, roomOfHash } from './page-address.js';
import { listRooms } from './room-list.js';
import { visit } from './room-page.js';

const local = storeOrMemory(() => localStorage);
/** What this tab alone remembers, so that a reload comes back to the same room as the same person. */
const tab = storeOrMemory(() => sessionStorage);
const identities = new Identities(local, browserEnvironment().newId);
const asked = readAddress(location.href);

// At once, before anything can copy or log it.
history.replaceState(null, '', asked.clean);
if (asked.token) tab.setItem('hubbub.token', asked.token);
let token = tab.getItem('hubbub.token') ?? '';

let name = asked.name || tab.getItem('hubbub.name') || identities.lastName;
let room = '';
/** @type {(() => void) | null} */
let endVisit = null;

const entry = new EntryView({
  onEnter: (enteredName, enteredRoom) => {
    name = enteredName;
    enter(enteredRoom);
  },
  onName: (typedName) => void showRooms(typedName),
});

/** Who reads before there is a session. @param {string} [forName] */
function identity(forName = name) {
  if (token) return { token };
  return forName ? { name: forName, guestId: identities.guestId(forName) } : {};
}

/** Who connects: a guest by a session, so that a reload and other tabs need not say again who they are. */
function visitor() {
  return token ? { token } : { login: { name, guest_id: identities.guestId(name) } };
}

/** @param {string} roomName */
function enter(roomName) {
  endVisit?.();
  room = roomName;
  tab.setItem('hubbub.name', name);
  tab.setItem('hubbub.room', room);
  if (roomOfHash(location.hash) !== room) location.hash = room;
  entry.hide();
  endVisit = visit({
    roomName: room,
    visitor: visitor(),
    ownName: token ? '' : name,
    onLeave: (isUnauthorized) => {
      if (isUnauthorized) forgetToken();
      leave();
    },
    onRefused: ({ message }) => leave(`${roomName}: ${message}`),
  });
}

function forgetToken() {
  token = '';
  tab.removeItem('hubbub.token');
}

/** @param {string} [error] */
function leave(error = '') {
  endVisit?.();
  endVisit = null;
  const left = room;
  room = '';
  tab.removeItem('hubbub.room');
  if (location.hash) history.pushState(null, '', location.pathname);
  showEntry(left, error);
}

/** @param {string} forRoom @param {string} [error] */
function showEntry(forRoom, error) {
  entry.show({ name, room: forRoom, error, isNamed: token !== '' });
  void showRooms(name);
}

/** @param {string} forName */
async function showRooms(forName) {
  const rooms = await listRooms(openApi(identity(forName)));
  if (entry.isShown) entry.showRooms(rooms);
}

addEventListener('hashchange', () => {
  const wanted = roomOfHash(location.hash);
  if (wanted === room) return;
  if (wanted && endVisit) enter(wanted);
  else if (!wanted && endVisit) leave();
  else if (wanted) showEntry(wanted);
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && entry.isShown) void showRooms(name);
});

const isReload = asked.room !== '' && tab.getItem('hubbub.room') === asked.room && (name !== '' || token !== '');
if (asked.isDirect || isReload) enter(asked.room);
else showEntry(asked.room);
