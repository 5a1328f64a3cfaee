/**
 * A sequence diagram in Mermaid's language, which GitHub, GitLab and many editors draw: a line of life for
 * each task, the rows of the picture as messages to itself, what went wrong in red.
 */
import { executionsOf, findingShown } from './executions.ts';
import type { Reporter, ShownExecution } from './reporter.ts';
import { rowsOf, type Row } from './rows.ts';
import { taskTitle } from './titles.ts';

/** Letters that Mermaid would take for its own: ends of statements, entities, comments, HTML. */
function escape(text: string): string {
  return text
    .replaceAll(/[#;%<>"\\`]/g, (letter) => `#${letter.charCodeAt(0)};`)
    .replaceAll('\n', ' ');
}

function rowText({ callers, text, result }: Row): string {
  const prefix = callers.map((caller) => `${caller.brief}: `).join('');
  return prefix + (result === null ? text : `${text} → ${result}`);
}

function lines(row: Row): string[] {
  const task = `t${row.task}`;
  const text = escape(rowText(row));
  const mark = row.mark === null ? [] : [`Note right of ${task}: ${escape(row.mark)}`];
  const number = row.step === null ? '' : `${row.step}. `;
  const isStep = row.kind === 'operation' || row.kind === 'access' || row.kind === 'wait';
  const own = isStep ? `${task}->>${task}: ${number}${text}` : `Note over ${task}: ${text}`;
  const all = [own, ...mark];
  return row.isWrong ? ['rect rgb(255, 214, 214)', ...all.map((line) => `  ${line}`), 'end'] : all;
}

function diagramOf(shown: ShownExecution): string {
  const { recording, title, token } = shown;
  const rows = rowsOf(recording, findingShown(shown));
  const present = recording.tasks.filter((task) => rows.some((row) => row.task === task.index));
  return [
    '---',
    `title: ${JSON.stringify(title)}`,
    '---',
    'sequenceDiagram',
    `  %% replay: npx mmulab replay ${token}`,
    ...present.map((task) => `  participant t${task.index} as ${escape(taskTitle(task))}`),
    ...rows.flatMap((row) => lines(row)).map((line) => `  ${line}`),
    '',
  ].join('\n');
}

export const mermaid: Reporter = {
  name: 'mermaid',
  about: 'a Mermaid sequence diagram of each execution that is shown',
  isPerExecution: true,
  write: (input) => executionsOf(input).map((shown) => diagramOf(shown)),
};
