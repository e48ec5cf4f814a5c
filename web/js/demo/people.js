// @ts-check
/**
 * Members as people: one entry per person with tabs and away, initials, and the order in which they are shown. Pure.
 */

/**
 * @typedef {{userId: string, name: string, color: string, avatarUrl: string, tabs: number, away: boolean, self: boolean}} Person
 */

/**
 * A person is away when all their tabs are hidden. Oneself comes first, then those who are here, then those away; by arrival.
 * @param {Iterable<import('../hubbub/roster.js').Member>} members
 * @param {string | undefined} selfId
 * @returns {Person[]}
 */
export function peopleOf(members, selfId) {
  /** @type {Person[]} */
  const people = [];
  for (const { user, connections } of members) {
    const states = [...connections.values()].map(({ state }) => state);
    people.push({
      userId: user.user_id,
      name: user.name,
      color: colorOf(user),
      avatarUrl: user.avatar_url ?? '',
      tabs: connections.size,
      away: states.length > 0 && states.every((state) => state?.away === true),
      self: user.user_id === selfId,
    });
  }
  const rank = (/** @type {Person} */ person) => (person.self ? 0 : person.away ? 2 : 1);
  return people.sort((a, b) => rank(a) - rank(b));
}

/** @param {Person} person */
export function describePerson({ name, self, tabs, away }) {
  const parts = [self ? `${name} (you)` : name];
  if (tabs > 1) parts.push(`${tabs} tabs`);
  if (away) parts.push('away');
  return parts.join(', ');
}

/** @param {string} name one or two letters that stand for it */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = (/** @type {string | undefined} */ word) => [...(word ?? '')][0] ?? '';
  const letters = words.length > 1 ? first(words[0]) + first(words.at(-1)) : [...(words[0] ?? '?')].slice(0, 2).join('');
  return letters.toUpperCase();
}

/** @param {{color?: string} | null | undefined} user what is not a plain hex colour is not put into a style */
export function colorOf(user) {
  return /^#[0-9a-f]{6}$/i.test(user?.color ?? '') ? /** @type {string} */ (user?.color) : '#6b7280';
}

/** Colours of people seen in the room. They outlive presence: what somebody said stays theirs when they are gone. */
export class Colors {
  /** @type {Map<string, string>} */
  #known = new Map();
  /** @type {(userId: string) => void} */
  onLearnt = () => {};

  /** @param {{user_id: string, color?: string}} user */
  learn(user) {
    const color = colorOf(user);
    if (this.#known.get(user.user_id) === color) return;
    this.#known.set(user.user_id, color);
    this.onLearnt(user.user_id);
  }

  /** @param {string} userId */
  of(userId) {
    return this.#known.get(userId) ?? colorOf(null);
  }
}

/** @param {string} color `#rrggbb` @returns {'#ffffff' | '#16130f'} the ink that is readable on it */
export function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? '#16130f' : '#ffffff';
}
