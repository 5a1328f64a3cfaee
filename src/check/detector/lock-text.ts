/**
 * What lockdep says: the words, the table of CPUs and the stacks of its findings, from the graph.
 *
 * The object of a finding, and so what tells findings apart, depends on the classes alone: not on which
 * edge closed a cycle, nor on who was seen first.
 */
import type { LockReport, LockStack, Report } from '../../kernel/finding.ts';
import type { Dependency, LockNode, Sighting } from './lock-graph.ts';

type Row = LockReport['scenario'][number];

/** A cycle of locks. `execution` is the present one. */
export function cycleReport(cycle: readonly Dependency[], execution: number): Report {
  const edges = rotated(cycle);
  const chain = edges.map((edge) => edge.from.name);
  const waits = edges.some((edge, at) => waitsAsReader(edge, edges[(at + 1) % edges.length]));
  const note = waits ? '; a reader waits for a reader if a writer has come in between' : '';
  return {
    kind: 'lock-order',
    object: chain.toSorted().join(', '),
    message: `${edges.map((edge) => deed(edge)).join(', but ')}${note}`,
    locking: {
      headline: 'possible circular locking dependency detected',
      chain,
      resources: edges.map((edge) => edge.paths[1]).toSorted(),
      scenario: cycleScenario(edges),
      stacks: edges.flatMap((edge) => edgeStacks(edge, execution)),
    },
  };
}

/** Two locks of one class, one inside the other. */
export function recursionReport(edge: Dependency): Report {
  const { name } = edge.to;
  return {
    kind: 'lock-order',
    object: name,
    message:
      `${place(edge.taken)} takes ${name} while the task holds one of that class; if they are two, ` +
      'tell lockdep in which order by a nested form',
    locking: {
      headline: 'possible recursive locking detected',
      chain: [name],
      resources: [edge.paths[1]],
      scenario: [
        { cpu: 0, text: taking(edge.from, edge.isShared ? 'read' : 'write') },
        { cpu: 0, text: taking(edge.to, edge.takenMode) },
      ],
      stacks: edgeStacks(edge, edge.taken.execution),
    },
  };
}

/** A lock that is taken in interrupt handlers, and elsewhere with interrupts on. */
export function inconsistencyReport(
  node: LockNode,
  [handler, other]: readonly [Sighting, Sighting],
  execution: number,
): Report {
  const { name } = node;
  return {
    kind: 'irq-inversion',
    object: name,
    message:
      `inconsistent {HARDIRQ-ON-W} -> {IN-HARDIRQ-W} usage: ${place(handler)} takes ${name} in an ` +
      `interrupt handler, ${place(other)} holds it with interrupts on`,
    locking: {
      headline: 'inconsistent lock state',
      chain: [name],
      resources: [node.path],
      scenario: [
        { cpu: 0, text: `lock(${name});` },
        { cpu: 0, text: '<Interrupt>' },
        { cpu: 0, text: `  lock(${name});` },
      ],
      stacks: [
        stackOf(`${name} is taken in an interrupt handler`, handler, execution),
        stackOf(`${name} is held with interrupts on`, other, execution),
      ],
    },
  };
}

/** A way from a lock that handlers take to one that is held with interrupts on. */
export function inversionReport(
  way: readonly Dependency[],
  [handler, other]: readonly [Sighting, Sighting],
  execution: number,
): Report {
  const [first, last] = [way[0] as Dependency, way.at(-1) as Dependency];
  const [safe, unsafe] = [first.from, last.to];
  const by = way.length === 1 ? '' : ' by way of others';
  return {
    kind: 'irq-inversion',
    object: `${safe.name}, ${unsafe.name}`,
    message:
      `${place(last.taken)} takes ${unsafe.name} with ${safe.name} held${by}, which ` +
      `${place(handler)} takes in an interrupt handler; but ${place(other)} holds ${unsafe.name} ` +
      'with interrupts on',
    locking: {
      headline: 'HARDIRQ-safe -> HARDIRQ-unsafe lock order detected',
      chain: [...way.map((edge) => edge.from.name), unsafe.name],
      resources: [safe.path, unsafe.path].toSorted(),
      scenario: [
        { cpu: 0, text: `lock(${unsafe.name});` },
        { cpu: 1, text: 'local_irq_disable();' },
        { cpu: 1, text: `lock(${safe.name});` },
        { cpu: 1, text: `lock(${first.to.name});` },
        { cpu: 0, text: '<Interrupt>' },
        { cpu: 0, text: `  lock(${safe.name});` },
      ],
      stacks: [
        stackOf(`${safe.name} is taken in an interrupt handler`, handler, execution),
        stackOf(`${unsafe.name} is held with interrupts on`, other, execution),
        ...way.flatMap((edge) => edgeStacks(edge, execution)),
      ],
    },
  };
}

// ---- parts -----------------------------------------------------------------------------------

/** The same cycle from the class that comes first in the alphabet. */
function rotated(cycle: readonly Dependency[]): readonly Dependency[] {
  let start = 0;
  for (const [at, edge] of cycle.entries()) {
    if (edge.from.name < (cycle[start] as Dependency).from.name) start = at;
  }
  return [...cycle.slice(start), ...cycle.slice(0, start)];
}

function waitsAsReader(edge: Dependency, next: Dependency | undefined): boolean {
  return edge.takenMode === 'read' && next?.isShared === true;
}

/** `one takes s.b with s.a held`. */
function deed(edge: Dependency): string {
  const { from, to } = edge;
  const verb = to.isLock ? 'takes' : 'reaches';
  return `${place(edge.taken)} ${verb} ${to.name} ${within(from)}`;
}

function within({ name, isLock }: LockNode): string {
  return isLock ? `with ${name} held` : `inside ${name}`;
}

function place(sighting: Sighting): string {
  return sighting.stack.at(-1) ?? sighting.taskName;
}

/** `lock(a);`, `rlock(sem);`, or `sync(srcu);` for who waits for a grace period. */
function taking(node: LockNode, mode: 'read' | 'write'): string {
  return `${mode === 'read' ? 'rlock' : 'lock'}(${node.name});`;
}

/** Each CPU has taken one lock and waits for that of the next. */
function cycleScenario(edges: readonly Dependency[]): Row[] {
  const first = edges.map((edge, cpu): Row => {
    return { cpu, text: taking(edge.from, edge.isShared ? 'read' : 'write') };
  });
  const then = edges.map((edge, cpu): Row => {
    const isSync = edge.takenMode === 'write' && isReadSection(edge, edges);
    return { cpu, text: isSync ? `sync(${edge.to.name});` : taking(edge.to, edge.takenMode) };
  });
  return [...first, ...then.toReversed()];
}

/** Whether what `edge` leads to is a read section, not a lock: who waits for it waits for a grace period. */
function isReadSection({ to }: Dependency, edges: readonly Dependency[]): boolean {
  return !to.isLock && edges.some((edge) => edge.from === to && edge.isShared);
}

function edgeStacks(edge: Dependency, execution: number): LockStack[] {
  const { from, to } = edge;
  return [
    stackOf(
      `${to.name} is ${to.isLock ? 'taken' : 'reached'} ${within(from)}`,
      edge.taken,
      execution,
    ),
    stackOf(`${from.name} was ${from.isLock ? 'taken' : 'entered'}`, edge.held, execution),
  ];
}

function stackOf(title: string, sighting: Sighting, execution: number): LockStack {
  const { taskName, stack, step, task } = sighting;
  const isHere = sighting.execution === execution && step >= 0;
  return { title, taskName, task: isHere ? task : null, step: isHere ? step : null, stack };
}
