/**
 * One execution in the HTML report: the means to move through it, its time line, its rows in columns, and
 * what memory holds at each step.
 *
 * Everything that can be read is in the page as it is written; the data for the script repeats it in the
 * form that stepping needs.
 */
import type { Recording } from '../trace/recording.ts';
import { findingShown } from './executions.ts';
import { escapeHtml, scriptData } from './html-text.ts';
import type { ShownExecution } from './reporter.ts';
import { rowsOf, type Row } from './rows.ts';
import { story } from './story.ts';
import { taskTitle, titleOf } from './titles.ts';

/** Of the time line, in pixels of its own scale. */
const LANE_HEIGHT = 18;
const LANES_LEFT = 130;
const TIMELINE_WIDTH = 1000;
const STORY_WIDTH = 110;

/** @param number of the execution on the page, from 1, by which its parts are told apart. */
export function executionHtml(shown: ShownExecution, number: number, title: string): string {
  const id = `e${number}`;
  const { recording, token } = shown;
  const finding = findingShown(shown);
  const rows = rowsOf(recording, finding);
  const tasks = tasksOf(recording, rows);
  const bad = finding === null || finding.step === null ? null : finding.step + 1;
  const told =
    finding === null
      ? ''
      : `<pre>${escapeHtml(story(recording, finding, { width: STORY_WIDTH }).join('\n'))}</pre>`;
  return [
    `<section class="execution" id="${id}" aria-labelledby="${id}-title">`,
    `<h3 id="${id}-title">${escapeHtml(`Execution ${number}: ${title}`)}</h3>`,
    `<p>Replay: <code>npx mmulab replay ${escapeHtml(token)}</code></p>`,
    playerHtml(recording, number),
    timelineHtml(recording, tasks, bad),
    '<div class="panes">',
    `<div class="scroll" tabindex="0" role="region" aria-label="Steps in columns, execution ${number}" data-part="scroll">`,
    tableHtml(recording, rows, tasks),
    '</div>',
    valuesHtml(number),
    '</div>',
    told,
    `<script type="application/json">${scriptData(dataOf(shown, bad))}</script>`,
    '</section>',
  ].join('\n');
}

/** Tasks that do something, those with a CPU first. */
function tasksOf({ tasks }: Recording, rows: readonly Row[]): number[] {
  const present = new Set(rows.map((row) => row.task));
  const order = (task: number): number => tasks[task]?.cpu ?? Infinity;
  return [...present].toSorted((a, b) => (order(a) === order(b) ? a - b : order(a) - order(b)));
}

function titleOfTask({ tasks }: Recording, index: number): string {
  const task = tasks[index];
  return task === undefined ? `task ${index}` : taskTitle(task);
}

function buttonHtml(go: string, text: string): string {
  return `<button type="button" data-go="${go}">${text}</button>`;
}

function playerHtml({ steps }: Recording, number: number): string {
  return [
    `<div class="player" role="group" aria-label="Move through the steps, execution ${number}" data-part="player" data-script hidden>`,
    buttonHtml('first', 'First'),
    buttonHtml('back', 'Back'),
    buttonHtml('forth', 'Forward'),
    buttonHtml('last', 'Last'),
    `<label for="e${number}-slider">Step</label>`,
    `<input type="range" id="e${number}-slider" data-part="slider" min="0" max="${steps.length}" value="0">`,
    `<p class="now" role="status" data-part="now"></p>`,
    '</div>',
  ].join('\n');
}

/** A lane for each task. The slider says the same to who cannot see it. */
function timelineHtml(recording: Recording, tasks: readonly number[], bad: number | null): string {
  const { steps } = recording;
  const width = (TIMELINE_WIDTH - LANES_LEFT) / Math.max(1, steps.length);
  const height = tasks.length * LANE_HEIGHT;
  const lanes = tasks.map((task, lane) => {
    const y = lane * LANE_HEIGHT;
    const marks = steps
      .filter((step) => step.task === task)
      .map(({ index, operation }) => {
        const x = (LANES_LEFT + index * width).toFixed(1);
        const className = index + 1 === bad ? ' class="bad"' : '';
        const size = `y="${y + 3}" width="${Math.max(1, width - 1).toFixed(1)}" height="${LANE_HEIGHT - 6}"`;
        const text = escapeHtml(`${index + 1}. ${operation}`);
        return `<rect data-step="${index + 1}"${className} x="${x}" ${size}><title>${text}</title></rect>`;
      });
    const name = escapeHtml(titleOfTask(recording, task));
    return `<text x="0" y="${y + LANE_HEIGHT - 6}">${name}</text>${marks.join('')}`;
  });
  const cursor = `<line class="cursor" data-start="${LANES_LEFT - 2}" x1="0" x2="0" y1="0" y2="${height}"/>`;
  return [
    `<svg class="timeline" viewBox="0 0 ${TIMELINE_WIDTH} ${height}" aria-hidden="true" data-script hidden>`,
    ...lanes,
    cursor,
    '</svg>',
  ].join('\n');
}

/** From which step on each row has happened; calls lead to the next operation. */
function timesOf(rows: readonly Row[]): number[] {
  let before = 0;
  const times = rows.map(({ step, kind }) => {
    before = step ?? before;
    return kind === 'call' ? null : before;
  });
  let next = before;
  return times
    .toReversed()
    .map((time) => (next = time ?? next))
    .toReversed();
}

function tableHtml(recording: Recording, rows: readonly Row[], tasks: readonly number[]): string {
  const times = timesOf(rows);
  const heads = tasks.map(
    (task) => `<th scope="col">${escapeHtml(titleOfTask(recording, task))}</th>`,
  );
  const body = rows.map((row, at) => {
    const step = row.step === null ? '' : ` data-step="${row.step}"`;
    const className = row.isWrong ? ' class="bad"' : '';
    const number = row.step === null ? '<td></td>' : `<th scope="row">${row.step}</th>`;
    const cells = tasks.map((task) => (task === row.task ? cellHtml(row) : '<td></td>'));
    const place = placeHtml(row.place);
    return `<tr data-at="${times[at]}"${step}${className}>${number}${cells.join('')}${place}</tr>`;
  });
  return [
    '<table class="steps">',
    '<caption>One step a row, a column for each CPU or task; calls are indented.</caption>',
    `<thead><tr><th scope="col">Step</th>${heads.join('')}<th scope="col">Place</th></tr></thead>`,
    '<tbody>',
    ...body,
    '</tbody>',
    '</table>',
  ].join('\n');
}

/** The name of the file and the line; the whole path where a pointer rests. */
function placeHtml(place: string | null): string {
  if (place === null) return '<td></td>';
  const short = place.slice(place.lastIndexOf('/') + 1);
  return `<td class="place" title="${escapeHtml(place)}">${escapeHtml(short)}</td>`;
}

function cellHtml({ depth, callers, text, result, mark }: Row): string {
  const prefix = callers.map((caller) => `${caller.brief}: `).join('');
  const value = result === null ? '' : ` → ${result}`;
  const note = mark === null ? '' : ` <span class="mark">← ${escapeHtml(mark)}</span>`;
  const indent = depth === 0 ? '' : ` style="padding-left:${depth + 0.5}em"`;
  return `<td${indent}>${escapeHtml(prefix + text + value)}${note}</td>`;
}

function valuesHtml(number: number): string {
  return [
    `<aside aria-label="State after the step, execution ${number}" data-script hidden>`,
    '<h4>Stack, outermost first</h4><ol class="stack" data-part="stack"></ol>',
    '<h4>Locks held</h4><ul class="held" data-part="held"></ul>',
    '<h4>Memory</h4>',
    `<label for="e${number}-all"><input type="checkbox" id="e${number}-all" data-part="all"> also what never changes</label>`,
    `<div class="scroll" tabindex="0" role="region" aria-label="Values in memory, execution ${number}">`,
    '<table class="values"><thead><tr><th scope="col">Field</th><th scope="col">Value</th></tr></thead>',
    '<tbody data-part="values"></tbody></table>',
    '</div>',
    '</aside>',
  ].join('\n');
}

function dataOf(shown: ShownExecution, bad: number | null): object {
  const { recording } = shown;
  const finding = findingShown(shown);
  return {
    tasks: recording.tasks.map((task) => taskTitle(task)),
    start: bad ?? (finding === null ? 0 : recording.steps.length),
    bad,
    finding: finding === null ? '' : titleOf(finding),
    initial: recording.initial?.map(({ path, value }) => [path, value]) ?? [],
    steps: recording.steps.map(({ task, operation, result, stack, after }) => ({
      task,
      text: operation,
      result,
      stack: stack.map((frame) => [frame.function, frame.place]),
      changes: after?.changes.map(({ path, value }) => [path, value]) ?? [],
      held: after?.held ?? [],
    })),
  };
}
