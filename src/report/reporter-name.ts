/** The names of the reporters, for who does not need their code. */
export const REPORTER_NAMES = [
  'text',
  'json',
  'html',
  'junit',
  'sarif',
  'github',
  'itf',
  'perfetto',
  'mermaid',
] as const;
export type ReporterName = (typeof REPORTER_NAMES)[number];
