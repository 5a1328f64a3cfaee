import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { expectWhatIsSaid } from './expectations.ts';

expectWhatIsSaid(DRIVER_SCENARIOS.filter((_, at) => at % 2 === 1));
