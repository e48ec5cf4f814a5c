// @ts-check
/** Room to board and back: own pointer out, everyone else's cursors and pings in. */
import { listenToBoard } from './board-input.js';
import { BoardView } from './board-view.js';
import { pointOf } from './cursor-motion.js';
import { colorOf } from './people.js';

/** @param {import('./room-page.js').Visit} visit */
export function wireBoard({ hub, room, colors, signal }) {
  const board = new BoardView(signal);

  const show = (/** @type {Iterable<string>} */ connectionIds) => {
    for (const id of connectionIds) {
      const point = pointOf(room.cursors.get(id));
      const owner = room.ownerOf(id);
      if (!point || !owner || id === hub.connectionId) continue;
      board.moveCursor(id, point, { name: owner.name, color: colorOf(owner) });
    }
    board.keepCursors(room.cursors);
  };
  const showAll = () => show(room.cursors.keys());
  room.on('joined', showAll);
  room.on('presence', showAll); // with their owners cursors go, and may become known
  room.on('cursors', ({ cursors }) => show(cursors.map((/** @type {any} */ { connection_id }) => connection_id)));

  const onMove = (/** @type {import('./board-view.js').Point | null} */ point, /** @type {boolean} */ isByKey) => {
    room.moveCursor(point);
    board.showOwn(isByKey ? point : null);
    if (point) board.element.dataset.used = ''; // the hint has done its work
  };
  const onPing = (/** @type {import('./board-view.js').Point} */ point) => {
    room.broadcast('ping', point);
    board.ping(point, colorOf(hub.user));
  };
  listenToBoard(board.element, { onMove, onPing }, signal);
  room.on('broadcast', ({ event, data, from }) => {
    const point = event === 'ping' ? pointOf(data) : null;
    if (point) board.ping(point, colors.of(from.user_id));
  });
}
