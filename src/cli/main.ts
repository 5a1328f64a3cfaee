#!/usr/bin/env node
process.stdout.write('mmulab\n');
