/** Linux error numbers (x86-64) by name. Kernel functions return them negated. */
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const E2BIG = 7;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENFILE = 23;
export const ENOTTY = 25;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EDEADLK = 35;
export const EBADRQC = 56;
export const ETIME = 62;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;
export const ETIMEDOUT = 110;
export const ERESTARTSYS = 512;

const NAMES: Readonly<Record<number, string>> = {
  [EPERM]: 'EPERM',
  [ENOENT]: 'ENOENT',
  [ESRCH]: 'ESRCH',
  [EINTR]: 'EINTR',
  [EIO]: 'EIO',
  [ENXIO]: 'ENXIO',
  [E2BIG]: 'E2BIG',
  [EBADF]: 'EBADF',
  [EAGAIN]: 'EAGAIN',
  [ENOMEM]: 'ENOMEM',
  [EACCES]: 'EACCES',
  [EFAULT]: 'EFAULT',
  [EBUSY]: 'EBUSY',
  [EEXIST]: 'EEXIST',
  [ENODEV]: 'ENODEV',
  [EINVAL]: 'EINVAL',
  [ENFILE]: 'ENFILE',
  [ENOTTY]: 'ENOTTY',
  [EFBIG]: 'EFBIG',
  [ENOSPC]: 'ENOSPC',
  [EDEADLK]: 'EDEADLK',
  [EBADRQC]: 'EBADRQC',
  [ETIME]: 'ETIME',
  [EOVERFLOW]: 'EOVERFLOW',
  [EOPNOTSUPP]: 'EOPNOTSUPP',
  [ETIMEDOUT]: 'ETIMEDOUT',
  [ERESTARTSYS]: 'ERESTARTSYS',
};

/** `-12` → `-ENOMEM`; numbers that are no error come back as decimal text. */
export function errnoName(value: number): string {
  const name = value < 0 ? NAMES[-value] : undefined;
  return name === undefined ? String(value) : `-${name}`;
}

const NUMBERS: ReadonlyMap<string, number> = new Map(
  Object.entries(NAMES).map(([number, name]) => [`-${name}`, -Number(number)]),
);

/** `-ENOMEM` → `-12`; NaN for a name that is not here. */
export function errnoNumber(name: string): number {
  return NUMBERS.get(name) ?? NaN;
}
