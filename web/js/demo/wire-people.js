// @ts-check
/** Room to avatars: whoever comes, goes, opens a tab or looks away is seen in the bar. */
import { peopleOf } from './people.js';
import { PeopleView } from './people-view.js';

/** @param {import('./room-page.js').Visit} visit */
export function wirePeople({ hub, room, colors }) {
  const view = new PeopleView();
  const show = () => {
    for (const { user } of room.members.values()) colors.learn(user);
    view.show(peopleOf(room.members.values(), hub.user?.user_id), room.membersTotal);
  };
  room.on('joined', show);
  room.on('presence', show);
  show();
}
