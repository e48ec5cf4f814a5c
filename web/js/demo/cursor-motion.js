// @ts-check
/**
 * How a cursor gets from one tick's position to the next: it closes the same share of the distance in the same time, whatever the
 * frame rate, so ticks that come late or early are not seen. Pure.
 */

/** After this time two thirds of the way are done: about two ticks of the hub, smooth without trailing behind. */
const TIME_CONSTANT_MS = 55;
/** Under a tenth of a pixel on any screen. */
const CLOSE_ENOUGH = 0.00005;

export class CursorMotion {
  /**
   * @param {number} x 0 to 1
   * @param {number} y 0 to 1
   */
  constructor(x, y) {
    this.x = this.targetX = x;
    this.y = this.targetY = y;
  }

  get isSettled() {
    return this.x === this.targetX && this.y === this.targetY;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  aim(x, y) {
    this.targetX = x;
    this.targetY = y;
  }

  /** For people who do not want motion, and for pages that were not watched. */
  jump() {
    this.x = this.targetX;
    this.y = this.targetY;
  }

  /** @param {number} ms since the last step */
  step(ms) {
    const share = 1 - Math.exp(-ms / TIME_CONSTANT_MS);
    this.x += (this.targetX - this.x) * share;
    this.y += (this.targetY - this.y) * share;
    if (Math.abs(this.targetX - this.x) + Math.abs(this.targetY - this.y) < CLOSE_ENOUGH) this.jump();
  }
}

/**
 * @param {any} position as another client sent it: anything may be in it
 * @returns {{x: number, y: number} | null}
 */
export function pointOf(position) {
  const { x, y } = position ?? {};
  if (!Number.isFinite(x) || !Number.isFinite(y)) return null;
  return { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
}
