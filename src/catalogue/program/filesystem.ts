/**
 * Tasks give blocks to inodes, each with a lock of its own. Up to 13 tasks find a free block at once;
 * each further one meets another task at a block.
 */
import { array } from '../../kernel/array.ts';
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { embed, struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const INODE_COUNT = 32;
/** Also the largest number of tasks: each takes a block, and looks for one until it has it. */
export const BLOCK_COUNT = 26;

const Inode = struct('inode', { lock: mutex(), block: 0 });
const Block = struct('block', { lock: mutex(), isBusy: false });
const Filesystem = struct('filesystem', {
  inodes: array(INODE_COUNT, embed(Inode)),
  blocks: array(BLOCK_COUNT, embed(Block)),
});

export const filesystem = (count: number) =>
  defineProgram({
    name: `program/filesystem-${count}`,
    about: `${count} tasks give blocks to inodes: 2^(${count} - 13) traces from 13 on`,
    state: Filesystem,
    tasks: tasksOf(
      count,
      'writer',
      (index) =>
        function* run(s: InstanceOf<typeof Filesystem>) {
          const i = index % INODE_COUNT;
          const inode = s.inodes.get(i);
          yield* mutexLock(inode.lock);
          let at = (2 * i) % BLOCK_COUNT;
          while (inode.block === 0) {
            const block = s.blocks.get(at);
            yield* mutexLock(block.lock);
            if (!block.isBusy) {
              block.isBusy = true;
              inode.block = at + 1;
            }
            yield* mutexUnlock(block.lock);
            at = (at + 1) % BLOCK_COUNT;
          }
          yield* mutexUnlock(inode.lock);
        },
    ),
  });
