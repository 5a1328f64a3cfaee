/**
 * The worker in which scenarios run. Helpers are started first: they load their code while this thread loads
 * its own, which is more.
 */
import { workerData } from 'node:worker_threads';
import { Counters } from './counters.ts';
import type { WorkerInput } from './protocol.ts';
import { ThreadTeam } from './thread-team.ts';

const { request, counters: buffer } = workerData as WorkerInput;
const counters = new Counters(buffer);
const helpers = request.kind === 'check' ? (request.long?.workers ?? 1) - 1 : 0;
const team = helpers > 0 ? new ThreadTeam(helpers, counters) : null;
const { serve } = await import('./serve.ts');
await serve(request, counters, team);
