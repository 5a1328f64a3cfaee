/**
 * The script of the HTML report. It only moves through what the page has: without it everything but the
 * values can be read. Plain JavaScript, since it runs in whatever browser opens the file.
 */
export const SCRIPT = `
'use strict';
for (const section of document.querySelectorAll('.execution')) {
  const data = JSON.parse(section.querySelector('script').textContent);
  const last = data.steps.length;
  const find = (name) => section.querySelector('[data-part=' + name + ']');
  const slider = find('slider');
  const rows = [...section.querySelectorAll('tbody tr[data-at]')];
  const marks = new Map([...section.querySelectorAll('rect[data-step]')].map((r) => [+r.dataset.step, r]));
  const changing = new Set(data.steps.flatMap((step) => step.changes.map(([path]) => path)));
  let now = -1;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  const textOf = (at) => {
    if (at === 0) return 'Before the first step';
    const step = data.steps[at - 1];
    const result = step.result === null ? '' : ' → ' + step.result;
    const bad = data.bad === at ? '. ' + data.finding : '';
    return 'Step ' + at + ' of ' + last + ', ' + data.tasks[step.task] + ': ' + step.text + result + bad;
  };

  const showValues = () => {
    const values = new Map(data.initial);
    const fresh = new Set();
    for (const [at, step] of data.steps.slice(0, now).entries()) {
      for (const [path, value] of step.changes) {
        values.set(path, value);
        if (at === now - 1) fresh.add(path);
      }
    }
    const isAll = find('all').checked;
    const shown = [...values].filter(([path]) => isAll || changing.has(path));
    shown.sort(([a], [b]) => Number(fresh.has(b)) - Number(fresh.has(a)));
    const lines = shown.map(([path, value]) => {
      const row = element('tr', undefined, fresh.has(path) ? 'changed' : '');
      const name = element('th', path);
      name.scope = 'row';
      row.append(name, element('td', fresh.has(path) ? value + ' (changed)' : value));
      return row;
    });
    find('values').replaceChildren(...lines);
  };

  const showTasks = () => {
    const held = new Map();
    for (const step of data.steps.slice(0, now)) held.set(step.task, step.held);
    const locks = [...held].flatMap(([task, list]) => list.map((lock) => element('li', lock + ', by ' + data.tasks[task])));
    find('held').replaceChildren(...(locks.length > 0 ? locks : [element('li', 'none')]));
    const stack = now === 0 ? [] : data.steps[now - 1].stack;
    const frames = stack.map(([name, place]) => element('li', place === null ? name : name + '  ' + place));
    find('stack').replaceChildren(...(frames.length > 0 ? frames : [element('li', 'none')]));
  };

  const show = (at, isFirst) => {
    const next = Math.max(0, Math.min(last, at));
    if (next === now) return;
    now = next;
    slider.value = String(now);
    slider.setAttribute('aria-valuetext', now === 0 ? 'before the first step' : 'step ' + now + ' of ' + last);
    find('now').textContent = textOf(now);
    for (const row of rows) {
      row.classList.toggle('later', +row.dataset.at > now);
      if (+row.dataset.step === now && now > 0) row.setAttribute('aria-current', 'step');
      else row.removeAttribute('aria-current');
    }
    const cursor = section.querySelector('.cursor');
    const mark = marks.get(now);
    const x = mark ? +mark.getAttribute('x') + mark.getAttribute('width') / 2 : +cursor.dataset.start;
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
    for (const button of section.querySelectorAll('button[data-go]')) {
      const isBack = button.dataset.go === 'first' || button.dataset.go === 'back';
      button.setAttribute('aria-disabled', String(isBack ? now === 0 : now === last));
    }
    showValues();
    showTasks();
    const row = section.querySelector('tr[aria-current]');
    const box = find('scroll');
    if (row) {
      const top = row.offsetTop - box.clientHeight / 2;
      box.scrollTop = Math.max(0, top);
    }
    if (isFirst) return;
    try { history.replaceState(null, '', '#' + section.id + '.' + now); } catch { /* a page without an address */ }
  };

  const go = { first: () => 0, back: () => now - 1, forth: () => now + 1, last: () => last };
  for (const button of section.querySelectorAll('button[data-go]')) {
    button.addEventListener('click', () => show(go[button.dataset.go]()));
  }
  slider.addEventListener('input', () => show(+slider.value));
  find('all').addEventListener('change', showValues);
  find('player').addEventListener('keydown', (event) => {
    if (event.target === slider || event.altKey || event.ctrlKey || event.metaKey) return;
    const way = { ArrowLeft: 'back', ArrowRight: 'forth', Home: 'first', End: 'last' }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    show(go[way]());
  });
  section.addEventListener('click', (event) => {
    const step = event.target.closest('[data-step]');
    if (step !== null && String(getSelection()) === '') show(+step.dataset.step);
  });
  for (const hidden of section.querySelectorAll('[data-script]')) hidden.removeAttribute('hidden');
  const wanted = new RegExp('^#' + section.id + '\\\\.(\\\\d+)$').exec(location.hash);
  show(wanted === null ? data.start : +wanted[1], wanted === null);
  if (wanted !== null) section.scrollIntoView();
}
`;
