/**
 * The bytes of a page frame.
 *
 * Modelled: bytes, all of them one place: two stores to one page are always ordered. Kept sparse, since
 * most pages of most programs are zero but for a few bytes.
 *
 * Variables: the bytes; and whose they are, see {@link PageContents.ownerVariable}.
 */
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';

const PAGE_SIZE = 4096;
/** More bytes than this that are not zero, and the page is kept in full. */
const SPARSE_MAX = 8;

/** The bytes of a page apart from any frame: what is in a swap slot. */
export interface SavedContents {
  readonly few: readonly number[] | null;
  readonly full: Uint8Array | null;
}

/** A place in a file: what a page of a driver belongs to. */
export interface FilePlace {
  readonly mapping: KernelObject;
  /** In pages. */
  readonly index: number;
}

export class PageContents extends KernelObject {
  /** Where a driver has mapped it last, or null; raw. What the mm owns says it itself: `page.mapping`. */
  owner: FilePlace | null = null;
  /** offset × 256 + byte, of bytes that are not zero; null once `full` is used. */
  private few: number[] | null = null;
  private full: Uint8Array | null = null;
  private loadOperation: LoadByte | null = null;
  private storeOperation: StoreByte | null = null;
  private copyOperation: CopyPage | null = null;

  /**
   * What ends a translation to the page (a flush) and what gives the page to another owner conflict on: one
   * without the other in front of it is what I8a forbids. Freeing the page is such a change, too.
   */
  get ownerVariable(): number {
    return this.variable + 1;
  }

  /** The byte at `offset`; raw, for who is in the middle of an operation. */
  get(offset: number): number {
    if (this.full !== null) return this.full[offset] as number;
    if (this.few === null) return 0;
    for (const item of this.few) if (item >>> 8 === offset) return item & 255;
    return 0;
  }

  /** Raw, too. */
  set(offset: number, byte: number): void {
    if (this.full !== null) {
      this.full[offset] = byte;
      return;
    }
    const few = (this.few ??= []);
    const at = few.findIndex((item) => item >>> 8 === offset);
    if (at >= 0) few.splice(at, 1);
    if (byte !== 0) few.push(offset * 256 + byte);
    if (few.length <= SPARSE_MAX) return;
    this.full = new Uint8Array(PAGE_SIZE);
    for (const item of few) this.full[item >>> 8] = item & 255;
    this.few = null;
  }

  /** A copy of the bytes, which belongs to no frame. Raw, too. */
  save(): SavedContents {
    return { few: this.few === null ? null : [...this.few], full: this.full?.slice() ?? null };
  }

  /** Takes over saved bytes. Raw, too. */
  restore(from: SavedContents): void {
    this.few = from.few === null ? null : [...from.few];
    this.full = from.full?.slice() ?? null;
  }

  /** Makes the bytes from `start` to `end` zero. Raw, too. */
  clear(start: number, end: number): void {
    this.full?.fill(0, start, end);
    if (this.few === null) return;
    this.few = this.few.filter((item) => item >>> 8 < start || item >>> 8 >= end);
  }

  /** Whether all bytes equal those of another page. Raw, too. */
  equals(other: PageContents): boolean {
    for (let offset = 0; offset < PAGE_SIZE; offset += 1) {
      if (this.get(offset) !== other.get(offset)) return false;
    }
    return true;
  }

  get load(): LoadByte {
    return (this.loadOperation ??= new LoadByte(this));
  }

  get store(): StoreByte {
    return (this.storeOperation ??= new StoreByte(this));
  }

  get copy(): CopyPage {
    return (this.copyOperation ??= new CopyPage(this));
  }
}

/** A field that holds the bytes of a page, all zero. */
export function pageContents(): FieldSpec<PageContents> {
  return new FieldSpec(2, (at: Placement) => new PageContents(at));
}

abstract class ContentsOperation<R> extends Operation<R> {
  protected readonly contents: PageContents;

  constructor(contents: PageContents) {
    super(contents.memory);
    this.contents = contents;
  }
}

class LoadByte extends ContentsOperation<number> {
  footprint(out: Access[]): void {
    out.push(access(this.contents.variable, READ));
  }

  perform(task: Task): number {
    return this.contents.get(task.argument as number);
  }

  describe(task: Task): string {
    return `reads byte ${String(task.argument)} of ${this.contents.path}`;
  }
}

/** The argument is offset × 256 + byte. */
class StoreByte extends ContentsOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.contents.variable, WRITE));
  }

  perform(task: Task): void {
    const item = task.argument as number;
    this.contents.set(item >>> 8, item & 255);
  }

  describe(task: Task): string {
    return `writes byte ${(task.argument as number) >>> 8} of ${this.contents.path}`;
  }
}

/** Copies to this page from the one that is the argument. */
class CopyPage extends ContentsOperation<void> {
  footprint(out: Access[], task: Task): void {
    const from = task.argument as PageContents;
    out.push(access(from.variable, READ), access(this.contents.variable, WRITE));
  }

  perform(task: Task): void {
    const from = task.argument as PageContents;
    running.touch(from.memory, from.path, 'read');
    this.contents.restore(from.save());
  }

  describe(): string {
    return 'copy_user_highpage()';
  }
}

/** Reads a byte of a page that the caller holds a reference to. */
export function loadByte(contents: PageContents, offset: number): Operation<number> {
  return made(contents.load, offset);
}

/** Writes a byte of a page that the caller holds a reference to. */
export function storeByte(contents: PageContents, offset: number, byte: number): Operation<void> {
  return made(contents.store, offset * 256 + byte);
}

/** `copy_user_highpage(to, from)`: all bytes in one step. The caller holds references to both. */
export function copyContents(to: PageContents, from: PageContents): Operation<void> {
  return made(to.copy, from);
}
