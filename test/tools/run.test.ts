import { spawnSync } from 'node:child_process'
import { cpSync, symlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import t, { type Test } from 'tap'

const HEAD = `import t from 'tap'\n`

/** Runs the test runner in a folder that has the given compiled tests. */
function run(t: Test, tests: Record<string, string>, ...args: string[]) {
  const compiled = Object.fromEntries(Object.entries(tests).map(([name, text]) => [`${name}.test.js`, HEAD + text]))
  const sources = Object.fromEntries(Object.entries(tests).map(([name, text]) => [`${name}.test.ts`, HEAD + text]))
  const cwd = t.testdir({
    'package.json': '{"type":"module"}',
    test: { x: sources },
    '.build': { test: { x: compiled } },
  })
  return runIn(cwd, ...args)
}

function runIn(cwd: string, ...args: string[]) {
  for (const name of ['run.mjs', 'group.mjs']) cpSync(`test/${name}`, `${cwd}/test/${name}`)
  symlinkSync(resolve('node_modules'), `${cwd}/node_modules`)
  const { status, stdout, stderr } = spawnSync(process.execPath, ['test/run.mjs', ...args], { cwd, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

t.test('a run without a failure prints a line a file and the sum', async t => {
  const { status, output } = run(t, { one: `t.test('a', async t => t.ok(1))`, two: `t.test('b', async t => t.ok(1))` })
  t.equal(status, 0, output)
  t.match(output, /^ok 1 - test\/x\/one\.test\.ts/m)
  t.match(output, /^ok 2 - test\/x\/two\.test\.ts/m)
  t.match(output, /^# \{ total: 2, pass: 2 \}$/m)
})

t.test('a failed assertion is printed with its file, and the other files run', async t => {
  const { status, output } = run(t, {
    one: `t.test('adds', async t => t.equal(1 + 1, 3, 'the sum'))`,
    two: `t.test('b', async t => t.ok(1))`,
  })
  t.equal(status, 1)
  t.match(output, /^not ok 1 - test\/x\/one\.test\.ts/m)
  t.match(output, /not ok 1 - the sum/)
  t.match(output, /^ok 2 - test\/x\/two\.test\.ts/m)
  t.match(output, /^# \{ total: 2, pass: 1, fail: 1 \}$/m)
})

t.test('a failure names the line in its source', async t => {
  const cwd = t.testdir({
    'package.json': '{"type":"module"}',
    test: { 'one.test.ts': `\n${HEAD}t.test('a', async t => t.equal(1, 2))\n` },
    '.build': {
      test: {
        'one.test.js': `${HEAD}t.test('a', async t => t.equal(1, 2))`,
        // Each line follows one line later in the source.
        'one.test.js.map': '{"version":3,"sources":["../../test/one.test.ts"],"names":[],"mappings":"AACA;AACA"}',
      },
    },
  })
  const { status, output } = runIn(cwd)
  t.equal(status, 1)
  t.match(output, /stack: \|\n.*test\/one\.test\.ts:3:1/)
  t.match(output, /fileName: test\/one\.test\.ts\n\s+lineNumber: 3\n/)
  t.notMatch(output, '.build/test')
})

t.test('a file fails that throws, ends its process or asserts nothing', async t => {
  const files = {
    throws: `throw new Error('not loaded')`,
    rejects: `t.test('a', async t => { t.ok(1); void Promise.reject(new Error('lost')); await new Promise(setImmediate) })`,
    exits: `t.test('a', async t => { t.ok(1); process.exit(0) })`,
    empty: 'export {}',
    'ends late': `t.test('a', async t => t.ok(1)); t.teardown(() => process.exit(0))`,
    killed: `t.test('a', async t => { t.ok(1); process.kill(process.pid, 'SIGKILL') })`,
  }
  for (const [name, text] of Object.entries(files)) {
    const { status, output } = run(t, { [name]: text })
    t.equal(status, 1, name)
    t.match(output, /^# \{ total: \d+, pass: \d+, fail: [1-9]\d* \}$/m, name)
  }
})

t.test('paths select files, and --unit leaves out those that start a process', async t => {
  const tests = {
    one: `t.test('a', async t => t.ok(1))`,
    two: `import 'node:child_process'\nt.test('b', async t => t.ok(1))`,
  }
  const ran = (...args: string[]) => run(t, tests, ...args).output.match(/test\/x\/\w+/g)
  t.same(ran('test/x/two.test.ts'), ['test/x/two'])
  t.same(ran('test/x/'), ['test/x/one', 'test/x/two'])
  t.same(ran('--unit'), ['test/x/one'])
  t.equal(run(t, tests, 'test/none').status, 1)
  t.equal(run(t, tests, 'test/x/one.test.ts', 'test/none').status, 1, 'each path matches')
})
