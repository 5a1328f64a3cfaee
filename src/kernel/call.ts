/**
 * Calls of kernel functions.
 *
 * A function that may reach an operation is made once, at module level, by `fn`. Calling it gives a
 * `Call`; `yield*` hands that to the engine, which keeps the task's stack itself and resumes only the
 * innermost generator. So a step costs the same at any depth, the engine knows the stack by kernel
 * names, and a call that was made but never yielded is noticed at the next step.
 */
import { made, Yieldable, type Body } from './operation.ts';

/** The text section of a loadable module: functions made by its `fn` die when it is unloaded. */
export interface Text {
  readonly moduleName: string;
}

/** A kernel function: its name as the kernel spells it, its code, and the module it belongs to. */
export interface KernelFunction {
  readonly name: string;
  readonly body: (...args: never[]) => Body<unknown>;
  readonly text: Text | null;
}

/** A call that was made and not run yet: `yield*` runs it, with the value of what the function returns. */
export class Call<R> extends Yieldable<R> {
  readonly callee: KernelFunction;
  readonly args: readonly unknown[];

  constructor(callee: KernelFunction, args: readonly unknown[]) {
    super();
    this.callee = callee;
    this.args = args;
  }
}

/** `mmuNotifierGetLocked` → `mmu_notifier_get_locked`. */
export function kernelName(camelCase: string): string {
  return camelCase
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();
}

/** A function made by {@link fn}; `callee` carries its kernel name. */
export interface KernelCallable<A extends unknown[], R> {
  (...args: A): Call<R>;
  readonly callee: KernelFunction;
}

/**
 * Makes a kernel function of a generator function.
 *
 * @param body a *named* generator function; the name, in snake case, is what pictures show.
 * @param options `name` where the kernel's name is not the mechanical one (`__mmu_notifier_register`);
 *   `text` for functions of a loadable module (see `moduleText`).
 */
export function fn<A extends unknown[], R>(
  body: (...args: A) => Body<R>,
  options: { readonly name?: string; readonly text?: Text } = {},
): KernelCallable<A, R> {
  const callee: KernelFunction = {
    name: options.name ?? kernelName(body.name),
    body: body as unknown as KernelFunction['body'],
    text: options.text ?? null,
  };
  const callable = (...args: A): Call<R> => made(new Call<R>(callee, args));
  return Object.assign(callable, { callee });
}
