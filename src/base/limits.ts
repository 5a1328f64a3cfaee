/** Every bound that mmulab puts on itself, in one place. Reaching one is an outcome, not a hang. */

/** Tasks in one execution, those started on the way (work, callbacks, interrupts) included. */
export const TASK_COUNT_MAX = 31;
/** Steps of one execution, unless `--max-steps` says otherwise. */
export const STEP_COUNT_MAX_DEFAULT = 10_000;
/** Depth of the stack of one task, in calls. */
export const CALL_DEPTH_MAX = 256;
/** Rounds of a `retry` loop, unless it says otherwise; beyond them nothing is explored. */
export const RETRY_COUNT_MAX = 100;
/** Seconds without an operation after which the exploring worker is ended. */
export const SILENCE_SECONDS_MAX = 5;
/** Threads that explore one search. */
export const WORKER_COUNT_MAX = 64;
/** Seconds between two checkpoints of a search. */
export const CHECKPOINT_SECONDS = 5;
/** Bytes of a saved search that is read. */
export const SEARCH_FILE_BYTES_MAX = 1 << 28;
/** Bytes of a token that `replay` reads. */
export const TOKEN_BYTES_MAX = 1 << 20;
/** Steps of the schedule in a token. */
export const TOKEN_STEPS_MAX = 1 << 20;
/** Executions with one violation whose schedules are shortened in search of the shortest. */
export const SHORTENING_COUNT_MAX = 1000;
/** MiB of memory of the exploring worker. A search keeps one execution at a time and needs little. */
export const WORKER_MEBIBYTES_MAX = 2048;
/** Executions that `check --sample` takes, unless `--samples` says otherwise. */
export const SAMPLE_COUNT_DEFAULT = 10_000;
/** Depth of the bugs that `--sample pct` looks for, unless `--depth` says otherwise. */
export const PCT_DEPTH_DEFAULT = 3;
/** If none of so many samples comes to its end, an execution is taken to be endless. */
export const CUT_SAMPLE_COUNT_MAX = 20;
/** Hashes that are kept to count distinct traces: exact up to so many, then ± 1.6 % (one σ). */
export const DISTINCT_COUNTER_SIZE = 4096;
/** Steps of other tasks for which direct mode waits, or that it runs after one call. */
export const DIRECT_STEPS_MAX = 1_000_000;
/** Executions in which a violation is looked for with fewer preemptions, all of a variant together. */
export const MINIMISING_EXECUTION_COUNT_MAX = 2000;
/** Variants of one counterexample that are tried to make it easier to follow. */
export const MINIMISING_TRIAL_COUNT_MAX = 400;
/** Preemptions up to which bounds are searched before the whole, unless `--preemptions` says otherwise. */
export const BOUNDS_FIRST_MAX = 2;
/** Bytes of a claim that `claim` reads. */
export const CLAIM_BYTES_MAX = 1 << 18;
/** Steps of a claim. */
export const CLAIM_STEP_COUNT_MAX = 512;
/** Columns of a claim. */
export const CLAIM_COLUMN_COUNT_MAX = 8;
/** Steps of a variant's executions in which `claim` looks for what there is, before it searches. */
export const CLAIM_SURVEY_STEPS_MAX = 50_000;
/** Executions of each variant where it looks through the catalogue for a scenario that is not named. */
export const CLAIM_GLANCE_COUNT_MAX = 6;
/** The same where it looks for a name that the scenario does not know. */
export const CLAIM_NAME_COUNT_MAX = 1;
/** Scenarios in which a claim is looked for that names none. */
export const CLAIM_SCENARIO_COUNT_MAX = 8;
/** Scenarios beyond which a claim is about anything: they are looked at for one execution each only. */
export const CLAIM_WIDE_COUNT = 60;
/** Executions of each variant of those, unless `--max-executions` says otherwise. */
export const CLAIM_UNNAMED_EXECUTION_COUNT_MAX = 20_000;
