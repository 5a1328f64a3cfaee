/**
 * Character devices: what opening a path finds.
 *
 * Modelled: opening takes the owner's module; a device appears and disappears at one moment, which may
 * come before init or exit of its module is over; one that outlives its module is a use of the module's
 * memory, where the file operations are.
 * Simplified: a path is a name, and names of all drivers share one list. Left out: numbers, inodes,
 * classes, permissions.
 */
import { EBUSY, ENOENT, ENXIO } from '../base/errno.ts';
import { perKernel, type Kernel } from './kernel.ts';
import type { Memory } from './memory.ts';
import { memoryOfText, moduleGetAccess, takeModule } from './module.ts';
import { callFootprint, type FileOperations } from './open-file.ts';
import { access, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

export interface Device {
  readonly fops: FileOperations;
  /** What taking the owner touches; made beforehand, since a footprint must not make anything. */
  readonly ownerAccess: Access | null;
  /** The module that registered it: the file operations are in its data. */
  readonly memory: Memory | null;
}

/** A device, and the step at which it was registered. */
interface Registered extends Device {
  readonly registeredAt: number;
}

class Devices {
  /** What registering and opening conflict on. */
  readonly variable: number;
  readonly byPath = new Map<string, Registered>();
  readonly registerOperation = new RegisterDevice(this);
  readonly unregisterOperation = new UnregisterDevice(this);

  constructor(kernel: Kernel) {
    this.variable = kernel.reserveVariables(1);
  }
}

const devices = perKernel((kernel) => new Devices(kernel), 1);

interface Registration extends Device {
  readonly path: string;
}

abstract class DeviceOperation<R> extends Operation<R> {
  readonly devices: Devices;

  constructor(owner: Devices) {
    super(null);
    this.devices = owner;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.devices.variable, WRITE));
  }
}

class RegisterDevice extends DeviceOperation<number> {
  override readonly maySleep = true;

  perform(task: Task): number {
    const registration = task.argument as Registration;
    const { byPath } = this.devices;
    if (byPath.has(registration.path)) return -EBUSY;
    byPath.set(registration.path, { ...registration, registeredAt: running.now });
    return 0;
  }

  describe(task: Task): string {
    return `register_chrdev(${(task.argument as Registration).path})`;
  }
}

class UnregisterDevice extends DeviceOperation<void> {
  override readonly maySleep = true;

  perform(task: Task): void {
    this.devices.byPath.delete(task.argument as string);
  }

  describe(task: Task): string {
    return `unregister_chrdev(${String(task.argument)})`;
  }
}

/** Finds the device and takes its module, as one step: the device list is locked meanwhile. */
class OpenDevice extends DeviceOperation<Device | number> {
  override readonly footprintVaries = true;
  readonly path: string;

  constructor(owner: Devices, path: string) {
    super(owner);
    this.path = path;
  }

  override footprint(out: Access[]): void {
    out.push(access(this.devices.variable, READ));
    const device = this.devices.byPath.get(this.path);
    if (device === undefined) return;
    if (device.ownerAccess !== null) out.push(device.ownerAccess);
    callFootprint(device.fops, out);
  }

  perform(): Device | number {
    const device = this.devices.byPath.get(this.path);
    if (device === undefined) return -ENOENT;
    const { fops, memory, registeredAt } = device;
    if (memory !== null) running.touch(memory, `the file operations of ${this.path}`);
    running.after(registeredAt);
    if (fops.owner !== undefined && !takeModule(fops.owner)) return -ENXIO;
    return device;
  }

  describe(): string {
    return `chrdev_open(${this.path})`;
  }
}

/**
 * Makes a device appear; from here on it can be opened, also before the module's init is over.
 * Returns 0, or -EBUSY if the path is taken. May sleep.
 */
export function registerChrdev(path: string, fops: FileOperations): Operation<number> {
  const memory = memoryOfText(running.currentTask.frames.at(-1)?.callee);
  const ownerAccess = fops.owner === undefined ? null : moduleGetAccess(fops.owner);
  const registration: Registration = { path, fops, memory, ownerAccess };
  return made(devices(running).registerOperation, registration);
}

/** Makes a device disappear; files that are open stay so. May sleep. */
export function unregisterChrdev(path: string): Operation<void> {
  return made(devices(running).unregisterOperation, path);
}

/**
 * Finds the device of `path` and takes its module, for {@link modulePut} to give back: -ENOENT if there
 * is none, -ENXIO if its module is being unloaded.
 */
export function openDevice(path: string): Operation<Device | number> {
  return made(new OpenDevice(devices(running), path));
}
