/**
 * SARIF 2.1.0, for code scanning: a result for each violation, with a code flow of a thread for each task,
 * whose `executionOrder` is the interleaving and whose `state` is what each step changed in memory.
 *
 * A violation that its variant is expected to have is a note, any other an error. A variant that did not do
 * what it is expected to without a violation to show for it is a result of the rule `verdict`. Paths are
 * relative to where the command was given.
 */
import type { RecordedFinding, RecordedStep, Recording } from '../trace/recording.ts';
import { findingShown, placeOfFinding } from './executions.ts';
import {
  isWrong,
  parsePlace,
  type Place,
  type ReportedFailure,
  type ReportedVariant,
  type Reporter,
  type ReportInput,
  type ShownExecution,
} from './reporter.ts';
import { executionsOf } from './executions.ts';
import { verdictText } from './text.ts';
import { kindAbout, kindName, taskTitle, titleOf } from './titles.ts';

const SCHEMA = 'https://json.schemastore.org/sarif-2.1.0.json';
const VERDICT_RULE = 'verdict';

interface Message {
  readonly text: string;
}

interface Location {
  readonly physicalLocation?: object;
  readonly logicalLocations?: readonly object[];
  readonly message?: Message;
}

function physical({ file, line }: Place): Location {
  const isAbsolute = /^(?:\/|[A-Za-z]:)/.test(file);
  const path = encodeURI(file.replaceAll('\\', '/')).replaceAll(/[#?]/g, encodeURIComponent);
  const uri = isAbsolute ? `file://${path.startsWith('/') ? '' : '/'}${path}` : path;
  return { physicalLocation: { artifactLocation: { uri }, region: { startLine: line } } };
}

function location(place: string | null, name: string, text: string): Location {
  const parsed = parsePlace(place);
  return {
    ...(parsed === null ? {} : physical(parsed)),
    ...(name === '' ? {} : { logicalLocations: [{ name, kind: 'function' }] }),
    message: { text },
  };
}

// ---- the interleaving ----------------------------------------------------------------------------

function stepText({ operation, result }: RecordedStep): string {
  return result === null ? operation : `${operation} → ${result}`;
}

function flowLocation(step: RecordedStep, culprit: number | null): object {
  const changes = step.after?.changes ?? [];
  const state = Object.fromEntries(changes.map(({ path, value }) => [path, { text: value }]));
  return {
    location: location(step.place, step.function, stepText(step)),
    executionOrder: step.index + 1,
    nestingLevel: Math.max(0, step.stack.length - 1),
    importance: step.index === culprit ? 'essential' : 'important',
    ...(changes.length === 0 ? {} : { state }),
  };
}

function codeFlow(recording: Recording, finding: RecordedFinding): object {
  const threads = recording.tasks.flatMap((task) => {
    const steps = recording.steps.filter((step) => step.task === task.index);
    if (steps.length === 0) return [];
    const locations = steps.map((step) => flowLocation(step, finding.step));
    return [{ id: task.name, message: { text: taskTitle(task) }, locations }];
  });
  return { message: { text: `${recording.steps.length} steps` }, threadFlows: threads };
}

function related({ memory }: RecordedFinding): Location[] {
  const { allocated = null, freed = null } = memory ?? {};
  const ends = [
    { origin: allocated, deed: 'allocated' },
    { origin: freed, deed: 'freed' },
  ];
  return ends.flatMap(({ origin, deed }) => {
    if (origin === null) return [];
    return [location(origin.place, origin.function, `${deed} by ${origin.taskName}`)];
  });
}

// ---- results -------------------------------------------------------------------------------------

function resultOf(shown: ShownExecution): object | null {
  const finding = findingShown(shown);
  if (finding === null) return null;
  const { variant, recording, token } = shown;
  const { scenario, variant: name, asExpected } = variant.result;
  const place = placeOfFinding(finding, variant.file);
  const where = place === null ? {} : physical(place);
  const relatedLocations = related(finding);
  const flow = codeFlow(recording, finding);
  return {
    ruleId: finding.kind,
    level: asExpected ? 'note' : 'error',
    message: {
      text: `${titleOf(finding)}: ${finding.message} (${scenario} ${name})\nreplay: npx mmulab replay ${token}`,
    },
    locations: [
      {
        ...where,
        logicalLocations: [{ name: finding.function || scenario, kind: 'function' }],
      },
    ],
    ...(relatedLocations.length === 0 ? {} : { relatedLocations }),
    ...(recording.steps.length === 0 ? {} : { codeFlows: [flow] }),
    // Lines move, names of functions hardly: the same bug is known again after an edit.
    partialFingerprints: {
      'mmulabFinding/v1': [scenario, name, finding.kind, finding.object, ...finding.places].join(
        '|',
      ),
    },
    properties: { scenario, variant: name, token, expected: asExpected },
  };
}

/** A variant that is wrong without a violation. */
function verdictResult({ result, file }: ReportedVariant): object[] {
  if (!isWrong(result) || result.violations.length > 0) return [];
  const where = file === null ? {} : physical({ file, line: 1 });
  const { scenario, variant, expected } = result;
  const text = `${scenario} ${variant}: ${verdictText(result)}; expected is ${expected?.verdict ?? 'no violation'}`;
  return [
    {
      ruleId: VERDICT_RULE,
      level: 'error',
      message: { text },
      locations: [{ ...where, logicalLocations: [{ name: scenario, kind: 'function' }] }],
      partialFingerprints: { 'mmulabFinding/v1': [scenario, variant, VERDICT_RULE].join('|') },
      properties: { scenario, variant },
    },
  ];
}

/** `help` is what code scanning shows beside an alert, and demands. */
function rule(id: string, name: string, about: string, help: string): object {
  return {
    id,
    shortDescription: { text: name },
    fullDescription: { text: about },
    help: { text: help },
  };
}

const REPLAY_HELP =
  'The code flow is an interleaving in which it happens, one thread for each task. The line at the end of ' +
  'the message replays it.';

function rulesOf({ variants }: ReportInput): object[] {
  const kinds = new Set(variants.flatMap(({ shown }) => shown.map((one) => one.violation.kind)));
  return [
    ...Array.from(kinds, (kind) => {
      const about = capital(`${kindAbout(kind)}.`);
      return rule(kind, capital(kindName(kind)), about, `${about} ${REPLAY_HELP}`);
    }),
    rule(
      VERDICT_RULE,
      'Not as expected',
      'A variant did not do what it is expected to do.',
      'Either the code has changed, or what the variant expects has to: see `expect` of the scenario.',
    ),
  ];
}

function capital(text: string): string {
  return (text[0] ?? '').toUpperCase() + text.slice(1);
}

function notification({ code, message, place }: ReportedFailure): object {
  const parsed = parsePlace(place);
  return {
    level: 'error',
    message: { text: message },
    descriptor: { id: code },
    ...(parsed === null ? {} : { locations: [physical(parsed)] }),
  };
}

export const sarif: Reporter = {
  name: 'sarif',
  about: 'SARIF 2.1.0 for code scanning, with the interleaving as a code flow',
  write(input) {
    const { variants, failures, version } = input;
    const results = [
      ...executionsOf(input).map((shown) => resultOf(shown)),
      ...variants.flatMap((variant) => verdictResult(variant)),
    ].filter((result) => result !== null);
    const run = {
      tool: { driver: { name: 'mmulab', semanticVersion: version, rules: rulesOf(input) } },
      invocations: [
        {
          executionSuccessful: failures.length === 0,
          toolExecutionNotifications: failures.map((failure) => notification(failure)),
        },
      ],
      columnKind: 'utf16CodeUnits',
      results,
    };
    const document = { $schema: SCHEMA, version: '2.1.0', runs: [run] };
    return [`${JSON.stringify(document, null, 2)}\n`];
  },
};
