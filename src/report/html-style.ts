/** The style sheet of the HTML report. Colours keep a contrast of 4.5 in the light and in the dark. */
export const STYLE = `
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --quiet: #5c5c5c; --line: #d0d0d0;
  --here: #fff3bf; --wrong: #b00020; --wrong-back: #ffe3e3; --good: #1b6e2d; --link: #0b57a4;
  --lane: #8a94a6; --changed: #d8ecff; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --text: #e8e8e8; --quiet: #a9adb5;
  --line: #3a3f47; --here: #4a4113; --wrong: #ff9a9a; --wrong-back: #4a1d20; --good: #7fd491;
  --link: #8cc2ff; --lane: #77808f; --changed: #173a5e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1.5rem 4rem; max-width: 110rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1.05rem; }
a { color: var(--link); }
code, pre, table.steps, table.values, .stack { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .15rem .5rem; }
caption { text-align: left; color: var(--quiet); padding: .25rem .5rem; }
table.summary td, table.summary th { border-bottom: 1px solid var(--line); padding: .3rem .6rem; }
.good { color: var(--good); } .wrong { color: var(--wrong); font-weight: 600; } .quiet { color: var(--quiet); }
.player { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; position: sticky; top: 0;
  background: var(--back); padding: .5rem 0; border-bottom: 1px solid var(--line); z-index: 1; }
.player button { font: inherit; padding: .2rem .7rem; }
.player input { flex: 1 1 12rem; }
.now { flex: 1 0 100%; margin: 0; min-height: 1.5em; }
.timeline { display: block; width: 100%; margin: .5rem 0; }
.timeline text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
.timeline rect { fill: var(--lane); cursor: pointer; }
.timeline rect.bad { fill: var(--wrong); }
.timeline .cursor { stroke: var(--text); stroke-width: 1.5; }
.panes { display: grid; grid-template-columns: minmax(0, 3fr) minmax(16rem, 1fr); gap: 1rem; }
@media (max-width: 70rem) { .panes { grid-template-columns: minmax(0, 1fr); } }
.scroll { overflow: auto; max-height: 75vh; border: 1px solid var(--line); border-radius: 4px; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table.steps { min-width: 100%; }
table.steps thead th { position: sticky; top: 0; background: var(--back); border-bottom: 1px solid var(--line); }
table.steps td { white-space: pre-wrap; overflow-wrap: anywhere; }
table.steps th[scope=row] { color: var(--quiet); font-weight: 400; text-align: right; }
table.steps td.place { color: var(--quiet); white-space: nowrap; }
table.steps tr[data-step] { cursor: pointer; }
table.steps tr.later { color: var(--quiet); }
table.steps tr.bad { background: var(--wrong-back); font-weight: 600; }
table.steps tr[aria-current] { background: var(--here); outline: 2px solid var(--text); outline-offset: -2px; }
.mark { color: var(--wrong); font-weight: 600; }
table.values { width: 100%; table-layout: fixed; }
table.values th:first-child { width: 60%; font-weight: 400; }
table.values th, table.values td { overflow-wrap: anywhere; }
table.values tr.changed { background: var(--changed); font-weight: 600; }
.stack, .held { margin: .25rem 0 .75rem; padding-left: 1.25rem; }
aside h4 { margin: .75rem 0 .25rem; font-size: .95rem; }
[hidden] { display: none !important; }
`;
