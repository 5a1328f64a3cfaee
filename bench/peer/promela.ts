/**
 * The acceptance programs in Promela, step for step: each visible operation is one statement (an atomic
 * block where it reads and writes), what a task does by itself belongs to the statement before.
 */

type Model = (count: number) => string;

const lockinc: Model = (count) => `
byte x = 0; bit held = 0;
active [${count}] proctype adder() {
  byte r;
  atomic { held == 0 -> held = 1 };
  r = x;
  x = r + 1;
  held = 0
}`;

const lastzero: Model = (count) => `
byte a[${count + 1}];
proctype writer(byte j) {
  byte r;
  r = a[j - 1];
  a[j] = r + 1
}
proctype reader() {
  byte i = ${count};
  do
  :: atomic { a[i] != 0 -> i = i - 1 }
  :: atomic { a[i] == 0 -> break }
  od
}
init {
  atomic {
    run reader();
    byte j;
    for (j : 1 .. ${count}) { run writer(j) }
  }
}`;

const readers: Model = (count) => `
byte x = 0;
active proctype writer() { x = 1 }
active [${count}] proctype reader() { byte r; r = x }`;

const refcount: Model = (count) => `
byte refs = 1; byte freed = 0;
inline drop() {
  d_step { v = refs; refs = refs - 1 };
  if :: v == 1 -> freed = 1 :: else fi
}
active proctype owner() { byte v; drop() }
active [${count}] proctype user() {
  byte v; byte f;
  d_step { v = refs; if :: v != 0 -> refs = refs + 1 :: else fi };
  if
  :: v == 0
  :: else -> f = freed; assert(f == 0); drop()
  fi
}`;

const indexer: Model = (count) => `
byte slots[128];
proctype inserter(byte t) {
  byte m; byte w; byte h; bit done;
  for (m : 1 .. 4) {
    w = 11 * m + t;
    h = (7 * w) % 128;
    done = 0;
    do
    :: done == 1 -> break
    :: else -> d_step {
         if
         :: slots[h] == 0 -> slots[h] = w; done = 1
         :: else -> h = (h + 1) % 128
         fi
       }
    od
  }
}
init {
  atomic {
    byte t;
    for (t : 0 .. ${count - 1}) { run inserter(t) }
  }
}`;

const MODELS: Readonly<Record<string, Model>> = { lockinc, lastzero, readers, refcount, indexer };

/** The Promela model of `lockinc-9`, or null if there is none. */
export function promelaOf(program: string): string | null {
  const [, family = '', count = ''] = /^(.*)-(\d+)$/.exec(program) ?? [];
  const model = MODELS[family];
  return model === undefined ? null : `${model(Number(count)).trim()}\n`;
}
