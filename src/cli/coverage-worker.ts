/** The worker, where lines are to be counted: counting begins before any of the code is loaded. */
import { startCoverage } from './coverage.ts';

startCoverage();
await import('./worker.ts');
