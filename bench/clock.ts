/**
 * Processor time, in milliseconds: all that the process used on any core, garbage collection and compiling
 * included. What else the machine does counts less than it would by the clock on the wall.
 */
export function now(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
