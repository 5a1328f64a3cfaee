/**
 * An oops ends the task that caused it, as it does in Linux: the task stops where it is, with the
 * locks it holds, and the others go on. Whatever another task then does wrong it could also have
 * done while this one was merely slow, so what is found after an oops is as true as what was found
 * before; only waiting for the dead task means nothing any more.
 *
 * Thrown by the kernel out of the accessor or call that trapped, caught by the engine alone.
 */
export class Oops {
  readonly isOops = true;
}

export const OOPS = new Oops();
