/** Several vCPUs, signals, allocations that fail, and VMs that outlive their program. */
import { EIO } from '../../base/errno.ts';
import { KVM_CREATE_VCPU, KVM_DEVICE } from '../../drivers/kvm/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Process } from '../../mm/process.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  BOTH,
  CLEAN,
  guestLoad,
  guestStore,
  moduleOf,
  OLD,
  prepare,
  region,
  runGuest,
  setRegion,
  unpin,
  type KvmState,
} from './kvm-subject.ts';

export const kvmTwoVcpus = defineScenario<KvmState>({
  name: 'kvm-two-vcpus',
  models: ['C1'],
  about: 'two vCPUs add to a byte on a page that neither has used yet',
  variants: BOTH,
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(state.process.ioctl(state.fd, KVM_CREATE_VCPU, 1));
    return state;
  },
  tasks: {
    one: { run: (state) => add(state, 0, 1) },
    other: { run: (state) => add(state, 1, 2) },
  },
  goals: ['added'],
  *finally(state) {
    warnOn((yield* state.process.load(ADDRESS)) !== OLD + 3, 'both additions are there');
    yield* unpin(state);
  },
});

function* add(state: KvmState, vcpu: number, addend: number): Body<void> {
  if ((yield* runGuest(state, vcpu, { op: 'add', gpa: 0, addend })) >= 0) goal('added');
}

export const kvmInterrupted = defineScenario<KvmState>({
  name: 'kvm-interrupted',
  models: ['C1'],
  about: 'two threads run the same vCPU; a signal may come while one waits for the other',
  variants: BOTH,
  faults: { signals: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: { one: { run: runOnce }, other: { run: runOnce } },
  goals: ['ran', 'interrupted'],
  finally: unpin,
});

function* runOnce(state: KvmState): Body<void> {
  goal((yield* guestStore(state)) < 0 ? 'interrupted' : 'ran');
}

interface ChildState extends KvmState {
  readonly child: Process;
}

export const kvmExitOpen = defineScenario<ChildState>({
  name: 'kvm-exit-open',
  models: ['C8', 'I6'],
  about:
    'a program exits with its VM open, and a child that has inherited the descriptor uses and closes it',
  variants: BOTH,
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), isMapped: true });
    return { ...state, child: machine.runNow<Process | number>(state.process.fork()) as Process };
  },
  tasks: {
    program: {
      *run(state) {
        yield* guestStore(state);
        yield* state.process.exit();
      },
    },
    child: {
      *run(state) {
        const { child, fd } = state;
        const byte = yield* guestLoad({ ...state, process: child });
        warnOn(byte !== -EIO, 'the VM is not of the child');
        yield* child.close(fd);
      },
    },
  },
  goals: [{ name: 'destroyed', calls: 'kvm_destroy_vm' }],
  finally: unpin,
});

export const kvmNoMemory = defineScenario<KvmState>({
  name: 'kvm-no-memory',
  models: ['C10'],
  about:
    'an allocation or a wait fails while a program makes a VM and its slots and runs a guest; then it exits',
  variants: { ...BOTH, 'get-put': { about: 'one VM alone could be had so (ours)', expect: CLEAN } },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), hasSlot: false }),
  tasks: {
    program: {
      *run(state) {
        const { process } = state;
        yield* process.close(state.fd);
        const fd = yield* process.open(KVM_DEVICE);
        goal(fd < 0 ? 'no VM' : 'a VM');
        if (fd >= 0) yield* useVm({ ...state, fd });
        yield* process.exit();
      },
    },
  },
  goals: ['no VM', 'a VM', 'no slot', 'the guest wrote'],
  finally: unpin,
});

function* useVm(state: KvmState): Body<void> {
  yield* state.process.ioctl(state.fd, KVM_CREATE_VCPU, 0);
  if ((yield* setRegion(state, region(ADDRESS))) !== 0) goal('no slot');
  if ((yield* guestStore(state)) === OLD) goal('the guest wrote');
  yield* setRegion(state, region(ADDRESS, 0));
}

export const KVM_LIFE = [kvmTwoVcpus, kvmInterrupted, kvmExitOpen, kvmNoMemory];
