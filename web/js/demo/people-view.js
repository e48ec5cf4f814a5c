// @ts-check
/** Avatars of who is here, in the bar. Touches the list of people and nothing else. */
import { byId, clone, paintAvatar, part, setText } from './dom.js';
import { describePerson } from './people.js';

/** More faces than this are a number. */
const SHOWN_MAX = 40;

export class PeopleView {
  #list = byId('people');
  /** @type {Map<string, HTMLElement>} by user id: a face stays the same element, so that only changes are seen */
  #faces = new Map();
  #more = document.createElement('li');

  constructor() {
    this.#more.className = 'more';
    this.#list.replaceChildren();
  }

  /**
   * @param {import('./people.js').Person[]} people
   * @param {number} total
   */
  show(people, total) {
    const shown = people.slice(0, SHOWN_MAX);
    const ids = new Set(shown.map(({ userId }) => userId));
    for (const [id, face] of this.#faces) {
      if (ids.has(id)) continue;
      face.remove();
      this.#faces.delete(id);
    }
    shown.forEach((person, place) => {
      const face = this.#faces.get(person.userId) ?? clone('member-template');
      this.#faces.set(person.userId, face);
      this.#paint(face, person);
      if (this.#list.children[place] !== face) this.#list.insertBefore(face, this.#list.children[place] ?? null);
    });
    const rest = total - shown.length;
    setText(this.#more, `+${rest}`);
    if (rest > 0) this.#list.append(this.#more);
    else this.#more.remove();
  }

  /**
   * @param {HTMLElement} face
   * @param {import('./people.js').Person} person
   */
  #paint(face, person) {
    Object.assign(face.dataset, {
      userId: person.userId, name: person.name, tabs: String(person.tabs), away: String(person.away), self: String(person.self),
    });
    face.title = describePerson(person);
    paintAvatar(part(face, '.avatar'), person);
    setText(part(face, '.tabs'), person.tabs > 1 ? String(person.tabs) : '');
    setText(part(face, '.sr-only'), describePerson(person));
  }
}
