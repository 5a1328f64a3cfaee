/**
 * Loadable modules: text, data, a reference counter, loading and unloading.
 *
 * A driver's file makes its functions and globals belong to a module:
 *
 *     export const amdkfd = moduleText('amdkfd');
 *     const { fn } = amdkfd;
 *     export const globals = amdkfd.data({ kfdProcessesMutex: mutex(), … });
 *     export const amdkfdSeries = amdkfd.module({ data: globals, init: kfdInit, exit: kfdExit });
 *
 * `globals()` is then the data of the module as it is loaded in the running kernel. Two versions of a
 * driver are two modules with one name; they may share text and data.
 *
 * Modelled: data lives from before init until unloading has freed it; text dies with it, and a task
 * found in it then, or coming back to it, is a finding; unloading is refused while there are
 * references and runs exit otherwise; taking a reference fails once unloading has begun; what init
 * has published can be used before init is over, also if init fails in the end.
 * Simplified: a name is loaded or it is not, nobody waits for a module of the same name that comes or
 * goes; a module that is loaded again has the text of the first time; nothing waits for readers
 * before the text goes, so who is in it must hold a reference or be waited for by exit.
 * Left out: dependencies between modules, parameters, sections that go when init is over.
 */
import { EAGAIN, EBUSY, EEXIST, ENOENT } from '../base/errno.ts';
import { fn, type KernelCallable, type KernelFunction, type Text } from './call.ts';
import { perKernel, type Kernel } from './kernel.ts';
import type { Memory } from './memory.ts';
import {
  access,
  COMMUTE,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type Body,
} from './operation.ts';
import { running } from './running.ts';
import { struct, type Fields, type Instance, type StructType } from './struct.ts';

/** What {@link unloadModule} returns for a module in use: Linux spells -EAGAIN so. */
export const EWOULDBLOCK = EAGAIN;

/** The globals of a module: call it for those of the running kernel. */
export interface ModuleData<F extends Fields> {
  (): Instance<F>;
  readonly type: StructType<F>;
}

/** A module that can be loaded: one version of a driver. */
export interface ModuleType<F extends Fields = Fields> extends Text {
  readonly data: StructType<F>;
  readonly init: KernelCallable<[], number> | null;
  readonly exit: KernelCallable<[], unknown> | null;
}

/** What `module` needs to know. */
export interface ModuleDefinition<F extends Fields> {
  readonly data?: ModuleData<F>;
  /** Returns 0 or -errno; in that case it has undone what it did. May sleep. */
  readonly init?: KernelCallable<[], number>;
  /** Without it the module stays until the end. May sleep. */
  readonly exit?: KernelCallable<[], unknown>;
}

/** The text of a module, and what makes its functions, its globals and the module itself. */
export interface ModuleText extends Text {
  /** The text itself, as `owner` of file operations. */
  readonly text: Text;
  /** As `fn` of call.ts, for functions of this module. */
  readonly fn: <A extends unknown[], R>(
    body: (...args: A) => Body<R>,
    options?: { readonly name?: string },
  ) => KernelCallable<A, R>;
  readonly data: <const F extends Fields>(fields: F) => ModuleData<F>;
  readonly module: <F extends Fields>(definition: ModuleDefinition<F>) => ModuleType<F>;
}

type State = 'absent' | 'coming' | 'live' | 'going';

/** A module name in one kernel, whether or not a module of that name is loaded. */
class Entry {
  readonly name: string;
  /** What taking references, loading and unloading conflict on. */
  readonly variable: number;
  state: State = 'absent';
  type: ModuleType | null = null;
  data: Instance<Fields> | null = null;
  memory: Memory | null = null;
  /** References; one is the module's own, which unloading takes away. */
  count = 0;
  /** The steps that dropped references, for whoever takes the last one away. */
  readonly putSteps: number[] = [];
  readonly operations: Record<string, Operation<unknown>> = {};

  constructor(kernel: Kernel, name: string) {
    this.name = name;
    this.variable = kernel.reserveVariables(2);
  }

  /** What unloading the text conflicts on. */
  get textVariable(): number {
    return this.variable + 1;
  }

  /** The operation `label`, made on first use. */
  operation<T>(label: string, build: (entry: Entry) => Operation<T>): Operation<T> {
    const found = this.operations[label] ?? build(this);
    this.operations[label] = found;
    return found as Operation<T>;
  }
}

class Modules {
  readonly byName = new Map<string, Entry>();
}

const modules = perKernel(() => new Modules());

/** Call it from model code only, not from a footprint: it may reserve variables. */
function entryOf(name: string): Entry {
  const { byName } = modules(running);
  let entry = byName.get(name);
  if (entry === undefined) {
    entry = new Entry(running, name);
    byName.set(name, entry);
  }
  return entry;
}

// ---- what drivers are written with ---------------------------------------------------------------

/** Begins a module: makes the text that its functions belong to. Once, at module level. */
export function moduleText(moduleName: string): ModuleText {
  const text: Text = { moduleName };
  return {
    moduleName,
    text,
    fn: (body, options = {}) => fn(body, { ...options, text }),
    data: (fields) => defineData(moduleName, fields),
    module: ({ data, init = null, exit = null }) => ({
      moduleName,
      data: data?.type ?? (struct('', {}) as never),
      init,
      exit,
    }),
  };
}

function defineData<const F extends Fields>(moduleName: string, fields: F): ModuleData<F> {
  // Globals have no prefix: the path of a field is the kernel's name of the variable.
  const type = struct('', fields);
  const accessor = (): Instance<F> =>
    instanceOf(moduleName, type as unknown as StructType<Fields>) as Instance<F>;
  return Object.assign(accessor, { type });
}

/** The data that is loaded, which has at least the fields of `type`. */
function instanceOf(moduleName: string, type: StructType<Fields>): unknown {
  const { data } = entryOf(moduleName);
  if (data === null) {
    running.misuse(
      `the data of module '${moduleName}' is used in ${running.currentTask.functionName}, but no ` +
        'such module is loaded; load it in set-up',
    );
  }
  if (data?.structType === type) return data;
  for (const key of Object.keys(type.offsets)) {
    if (data !== null && key in data.structType.offsets) continue;
    running.misuse(`module '${moduleName}' was loaded with data that has no '${key}'`);
  }
  return data;
}

// ---- references ----------------------------------------------------------------------------------

/** An operation on a module name. */
abstract class ModuleOperation<R> extends Operation<R> {
  readonly entry: Entry;
  readonly label: string;

  constructor(entry: Entry, label: string) {
    super(null);
    this.entry = entry;
    this.label = label;
  }

  footprint(out: Access[], _task: unknown): void {
    out.push(access(this.entry.variable, WRITE));
  }

  describe(_task: unknown): string {
    return `${this.label}(${this.entry.name})`;
  }
}

/**
 * Gets and puts commute: only unloading asks how many there are. So a put too many is looked for in one
 * order with the gets of others; what it leads to, in all.
 */
abstract class ReferenceOperation<R> extends ModuleOperation<R> {
  override footprint(out: Access[]): void {
    out.push(access(this.entry.variable, COMMUTE));
  }
}

class TryModuleGet extends ReferenceOperation<boolean> {
  perform(): boolean {
    return takeReference(this.entry);
  }
}

class ModulePut extends ReferenceOperation<void> {
  perform(): void {
    const { entry } = this;
    if (running.now >= 0) entry.putSteps.push(running.now);
    if (entry.count <= 1) {
      running.assertion('WARN_ON', `module_put(${entry.name}): more often than it was taken`);
      return;
    }
    entry.count -= 1;
  }
}

function takeReference(entry: Entry): boolean {
  if (entry.count === 0) return false;
  entry.count += 1;
  return true;
}

/**
 * `try_module_get(module)`: keeps the module loaded until {@link modulePut}. False once unloading
 * has begun. Never sleeps.
 */
export function tryModuleGet(text: Text): Operation<boolean> {
  const entry = entryOf(text.moduleName);
  return made(entry.operation('get', (at) => new TryModuleGet(at, 'try_module_get')));
}

/** `module_put(module)`. Never sleeps. Pairs with {@link tryModuleGet}. */
export function modulePut(text: Text): Operation<void> {
  const entry = entryOf(text.moduleName);
  return made(entry.operation('put', (at) => new ModulePut(at, 'module_put')));
}

/** What taking a reference inside another operation touches. */
export function moduleGetAccess(text: Text): Access {
  return access(entryOf(text.moduleName).variable, COMMUTE);
}

/** {@link tryModuleGet} as part of another step, which declares {@link moduleGetAccess}. */
export function takeModule(text: Text): boolean {
  return takeReference(entryOf(text.moduleName));
}

// ---- loading -------------------------------------------------------------------------------------

class StartLoading extends ModuleOperation<number> {
  override readonly maySleep = true;

  override footprint(out: Access[], task: unknown): void {
    super.footprint(out, task);
    // Text that was unloaded can be run again.
    out.push(access(this.entry.textVariable, WRITE));
  }

  perform(task: { readonly argument: unknown }): number {
    const { entry } = this;
    if (entry.state !== 'absent') return -EEXIST;
    const type = task.argument as ModuleType;
    const memory = running.makeMemory(entry.name, 'module', type.data.variables, null);
    const at = { memory, path: '', variable: memory.firstVariable, container: null };
    entry.type = type;
    entry.memory = memory;
    entry.data = type.data.make(at);
    entry.state = 'coming';
    // Its own reference, and one that init holds.
    entry.count = 2;
    entry.putSteps.length = 0;
    running.noteAllocated(memory);
    running.unloadedModules.delete(entry.name);
    running.textVariables.set(entry.name, entry.textVariable);
    return 0;
  }
}

/** Init is over: drops the reference that it held. */
class FinishLoading extends ReferenceOperation<void> {
  perform(): void {
    this.entry.state = 'live';
    this.entry.count -= 1;
    if (running.now >= 0) this.entry.putSteps.push(running.now);
  }

  override describe(): string {
    return `${this.entry.name} is live`;
  }
}

/** Frees data and text: conflicts with every use of either. */
class FreeModule extends ModuleOperation<void> {
  override readonly footprintVaries = true;
  override footprint(out: Access[]): void {
    const { entry } = this;
    out.push(access(entry.variable, WRITE), access(entry.textVariable, WRITE));
    const { memory } = entry;
    if (memory === null) return;
    for (let at = 0; at < memory.variableCount; at += 1) {
      out.push(access(memory.firstVariable + at, WRITE));
    }
  }

  perform(): void {
    const { entry } = this;
    running.release(entry.memory as Memory);
    running.unloadedModules.add(entry.name);
    entry.state = 'absent';
    entry.count = 0;
    entry.data = null;
    entry.type = null;
  }
}

class StopModule extends ModuleOperation<number> {
  override readonly maySleep = true;

  perform(): number {
    const { entry } = this;
    if (entry.state === 'absent') return -ENOENT;
    if (entry.state !== 'live') return -EBUSY;
    const { type } = entry;
    if (type?.init !== null && type?.exit === null) return -EBUSY;
    if (entry.count > 1) return -EWOULDBLOCK;
    for (const step of entry.putSteps) running.after(step);
    entry.state = 'going';
    entry.count = 0;
    return 0;
  }
}

const freeModule = fn(function* freeModule(entry: Entry) {
  yield* made(entry.operation('free', (at) => new FreeModule(at, 'free_module')));
});

/**
 * `init_module`: makes the module's data and runs its init. Returns 0, -EEXIST if one of that name
 * is there, or what init returned; the data is then freed. May sleep.
 */
export const loadModule = fn(
  function* loadModule(type: ModuleType) {
    const entry = entryOf(type.moduleName);
    const start = entry.operation('load', (at) => new StartLoading(at, 'load_module'));
    const error = yield* made(start, type);
    if (error !== 0) return error;
    const result = type.init === null ? 0 : yield* type.init();
    if (result < 0) {
      yield* freeModule(entry);
      return result;
    }
    yield* made(entry.operation('live', (at) => new FinishLoading(at, 'live')));
    return 0;
  },
  { name: 'init_module' },
);

/**
 * `delete_module`: runs the module's exit and frees its data and text. Returns 0, -ENOENT if it is
 * not loaded, -EBUSY if it comes, goes or has no exit, -EWOULDBLOCK while there are references. May
 * sleep.
 */
export const unloadModule = fn(
  function* unloadModule(text: Text) {
    const entry = entryOf(text.moduleName);
    const error = yield* made(entry.operation('stop', (at) => new StopModule(at, 'delete_module')));
    if (error !== 0) return error;
    const exit = entry.type?.exit ?? null;
    if (exit !== null) yield* exit();
    yield* freeModule(entry);
    return 0;
  },
  { name: 'delete_module' },
);

/** Loads a module in set-up, and returns its data. That its init fails ends the search. */
export function load<F extends Fields>(kernel: Kernel, type: ModuleType<F>): Instance<F> {
  return kernel.runNow<Instance<F>>(loadInSetup(type));
}

/** Not made anew for each execution: see `runBody` in kernel.ts. */
function* loadInSetup<F extends Fields>(type: ModuleType<F>): Body<Instance<F>> {
  const error = yield* loadModule(type as unknown as ModuleType);
  if (error !== 0) running.misuse(`the init of module '${type.moduleName}' returned ${error}`);
  return entryOf(type.moduleName).data as Instance<F>;
}

/** The memory of the module that has this function in its text, or null if it is built in. */
export function memoryOfText(callee: KernelFunction | undefined): Memory | null {
  const text = callee?.text ?? null;
  return text === null ? null : entryOf(text.moduleName).memory;
}

/**
 * Appends what a step touches that calls a function which may be a module's. For steps after which the
 * engine calls it; steps of a task that is in the module's text have it already.
 */
export function textFootprint(callee: KernelFunction, out: Access[]): void {
  const text = callee.text ?? null;
  const variable = text === null ? undefined : running.textVariables.get(text.moduleName);
  if (variable !== undefined) out.push(access(variable, READ));
}
