/**
 * Pairs and triples of what can happen to a program that uses a device, beside each other. A driver has a table of
 * actions; variants are called by what happens in them, `munmap+exit`; two or three tasks do it.
 *
 *     defineScenario<KvmState>({
 *       …,
 *       variants: pairsOf(ACTIONS, { special: { 'access+exit': … } }),
 *       ...sideBySide(ACTIONS, 'first', 'second'),
 *     });
 */
import type { TaskDefinition, Variant } from '../../check/scenario.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';

/** What can happen, by its name. The state is that of the driver's scenarios. */
export type Actions<S> = Readonly<Record<string, (state: S) => Body<unknown>>>;

interface Exceptions {
  /** Pairs that are not expected to be clean, or that have something to say. */
  readonly special?: Readonly<Record<string, Variant>>;
  /** Pairs that there are not. */
  readonly leftOut?: ReadonlySet<string>;
}

const CLEAN: Variant = { expect: { verdict: 'clean' } };

/** Every pair, also of one with itself, in the order of the table. */
export function pairsOf(
  actions: Readonly<Record<string, unknown>>,
  { special = {}, leftOut = new Set() }: Exceptions = {},
): Readonly<Record<string, Variant>> {
  const names = Object.keys(actions);
  const pairs = names.flatMap((first, at) => names.slice(at).map((second) => `${first}+${second}`));
  return variantsOf(
    pairs.filter((pair) => !leftOut.has(pair)),
    special,
  );
}

/** Those that are listed: three at a time, or pairs of a driver whose other scenarios have the rest. */
export function variantsOf(
  names: readonly string[],
  special: Readonly<Record<string, Variant>> = {},
): Readonly<Record<string, Variant>> {
  return Object.fromEntries(names.map((name) => [name, special[name] ?? CLEAN]));
}

/** Tasks that do what the variant's name lists, one each, on CPUs of their own; and that each of them ends. */
export function sideBySide<S, N extends 'first' | 'second' | 'third'>(
  actions: Actions<S>,
  ...names: readonly N[]
) {
  const tasks = {} as Record<N, TaskDefinition<S>>;
  for (const [at, name] of names.entries()) {
    tasks[name] = {
      cpu: at,
      *run(state, variant) {
        const action = variant.split('+')[at] as string;
        yield* (actions[action] as Actions<S>[string])(state);
        goal(`the ${name} is done`);
      },
    };
  }
  return { tasks, goals: names.map((name) => `the ${name} is done`) };
}
