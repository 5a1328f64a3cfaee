/** Every bound that mmulab puts on itself, in one place. Reaching one is an outcome, not a hang. */

/** Tasks in one execution, those started on the way (work, callbacks, interrupts) included. */
export const TASK_COUNT_MAX = 31;
/** Steps of one execution, unless `--max-steps` says otherwise. */
export const STEP_COUNT_MAX_DEFAULT = 10_000;
/** Depth of the stack of one task, in calls. */
export const CALL_DEPTH_MAX = 256;
/** Seconds without an operation after which the exploring worker is ended. */
export const SILENCE_SECONDS_MAX = 5;
/** Bytes of a token that `replay` reads. */
export const TOKEN_BYTES_MAX = 1 << 20;
/** Steps of the schedule in a token. */
export const TOKEN_STEPS_MAX = 1 << 20;
/** Executions with one violation whose schedules are shortened in search of the shortest. */
export const SHORTENING_COUNT_MAX = 1000;
/** MiB of memory of the exploring worker. A search keeps one execution at a time and needs little. */
export const WORKER_MEBIBYTES_MAX = 2048;
