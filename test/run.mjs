// Runs compiled tests: node test/run.mjs [--unit] [file or folder …]
// Paths name sources, such as test/segment/params.test.ts. Without a path, runs every test.
// --unit leaves out tests that start a server, another process or a browser.
//
// Prints a line for each file, failures in full, and the sum: "# { total: 12, pass: 11, fail: 1 }".
// Several files run in one process, one after another: loading tap and the gateway takes longer than most tests.
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { availableParallelism } from 'node:os'
import { posix, sep } from 'node:path'
import { parseArgs } from 'node:util'

/** The longest tests, longest first. They start first, so that none of them runs alone at the end. */
const LONGEST = [
  ...[
    'pages/playground/playground.browser',
    'integration',
    'simulation',
    'pages/dashboard',
    'faults',
    'fuzz',
    'monitoring',
  ],
  ...['sandbox', 'store', 'http', 'credits', 'tools'],
].map(name => `test/${name}`)
/** Most files in one process. */
const GROUP_SIZE = 12
/** Files that need a process of their own, because they measure its memory or change it. */
const ALONE = /^test\/(faults\/faults|fuzz\/|monitoring\/)|upload-memory|concurrent-uploads|browser/
/** Files that share no process with others: the gateway blocks image formats that they draw with. */
const APART = /^test\/sandbox\//
/** Imports that a unit test does not have, directly or through other files of test/. */
const NOT_UNIT =
  /^(node:(child_process|http|net)|playwright-core|src\/sandbox\/server\.ts)$|^test\/support\/(programs|pages)\/|^test\/support\/gateway\/gateway/
/**
 * Lets V8 optimise only code that runs for seconds. Test processes are short: by default, the compiler takes a sixth of
 * their processor time on Node.js 20. The options differ between its versions.
 */
const V8_OPTIONS = { 20: ['--interrupt-budget=1000000'], 24: ['--invocation-count-for-turbofan=30000'] }
/** Folder in memory for temporary files: on a disk, the stores of the tests spend half of their time waiting for it. */
const MEMORY_FOLDER = '/dev/shm'
/** Free space that the folder must have. Containers often have 64 MB. */
const MIN_MEMORY_BYTES = 2 * 1024 ** 3
/** A process that has not ended after this time for each of its files is killed. */
const KILL_AFTER_MS = 300_000
/** Longest wait for output after the end of a process. */
const PIPE_MS = 2_000

const { values, positionals } = parseArgs({ allowPositionals: true, options: { unit: { type: 'boolean' } } })
const paths = positionals.map(toPosix)
const files = selectFiles(paths)
const unknown = paths.filter(path => !files.some(file => isBelow(file, path)))
if (unknown.length > 0 || files.length === 0) {
  console.error(`No test matches ${unknown.join(', ') || 'the options'}.`)
  process.exit(1)
}
const startedAt = performance.now()
const total = { pass: 0, fail: 0 }
const waiting = groupsOf(files).values()
// Two processes more than processors: many tests wait for timers or for other programs.
await Promise.all(Array.from({ length: availableParallelism() + 2 }, runWaiting))
console.log(
  `# { total: ${total.pass + total.fail}, pass: ${total.pass}${total.fail > 0 ? `, fail: ${total.fail}` : ''} }`,
)
console.log(`# time=${Math.round(performance.now() - startedAt)}ms`)
process.exitCode = total.pass > 0 && total.fail === 0 ? 0 : 1

/** Returns the sources of the selected tests, in the order in which they start. */
function selectFiles(paths) {
  const tests = readdirSync('test', { recursive: true }).filter(name => name.endsWith('.test.ts'))
  const isNamed = file => paths.length === 0 || paths.some(path => isBelow(file, path))
  return tests
    .map(name => `test/${toPosix(name)}`)
    .filter(file => isNamed(file) && !(values.unit && [...importsOf(file)].some(name => NOT_UNIT.test(name))))
    .sort((one, other) => rankOf(one) - rankOf(other) || (one < other ? -1 : 1))
}

function isBelow(file, path) {
  return file === path || file.startsWith(`${path}/`)
}

function toPosix(path) {
  return posix.normalize(path.split(sep).join('/')).replace(/\/$/, '')
}

function rankOf(file) {
  const index = LONGEST.findIndex(name => file.startsWith(name))
  return index < 0 ? LONGEST.length : index
}

/** Returns every import of a source, and those of the files of test/ that it imports. */
function importsOf(file, found = new Set()) {
  for (const [, name] of readFileSync(file, 'utf8').matchAll(/^(?!import type).*(?:from|import\(?) ?'([^']+)'/gm)) {
    const imported = name.startsWith('.') ? posix.join(posix.dirname(file), name).replace(/\.js$/, '.ts') : name
    if (found.has(imported)) continue
    found.add(imported)
    if (imported.startsWith('test/') && existsSync(imported)) importsOf(imported, found)
  }
  return found
}

/** Divides files into the groups that share a process. */
function groupsOf(files) {
  const groups = []
  let open
  for (const file of files) {
    const isAlone = ALONE.test(file)
    if (!isAlone && open?.length < GROUP_SIZE && APART.test(file) === APART.test(open[0])) {
      open.push(file)
      continue
    }
    const group = [file]
    groups.push(group)
    if (!isAlone) open = group
  }
  return groups
}

async function runWaiting() {
  for (const group of waiting) {
    const { output, end } = await run(group)
    const summary = output.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? ''
    const count = name => Number(new RegExp(`${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
    // A file that ended its process early has no line such as "ok 2 - test/a.test.ts # time".
    const missing = group.filter(file => !output.includes(` - ${file} # time=`))
    const hasEmptyFile = /^ {4}1\.\.0$/m.test(output)
    const isPassed = end === 0 && missing.length === 0 && !hasEmptyFile && count('fail') === 0
    total.pass += count('pass')
    // A process that ends with an error has failed, also without a failed assertion.
    total.fail += isPassed ? 0 : Math.max(count('fail'), 1)
    for (const [line] of output.matchAll(/^(not )?ok \d+ - test\/.*|SKIPPED: .*/gm)) console.log(line)
    if (isPassed) continue
    console.log(`${failuresIn(output)}\n    ${group.join(', ')} ended with ${end}`)
    for (const file of missing) console.log(`not ok - ${file} did not end`)
    if (hasEmptyFile) console.log(`not ok - one of these files has no test`)
  }
}

/** Runs a group to its end. Resolves with its output, and the exit code or the signal that ended it. */
function run(group) {
  const env = { ...temporaryFolder(), ...process.env, TEST_FILES: group.join(' ') }
  const v8Options = V8_OPTIONS[process.versions.node.split('.')[0]] ?? []
  const args = [...v8Options, 'test/group.mjs']
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => chunks.push(chunk))
  const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS * group.length)
  return new Promise(resolve => {
    // A program that outlives the tests may keep the pipes open.
    child.once('exit', () => setTimeout(() => child.stdout.destroy() && child.stderr.destroy(), PIPE_MS).unref())
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ output: Buffer.concat(chunks).toString(), end: signal ?? code })
    })
  })
}

/** Returns the variable that moves temporary files into memory, if it has room for them. */
function temporaryFolder() {
  try {
    accessSync(MEMORY_FOLDER, constants.W_OK)
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER)
    return bavail * bsize >= MIN_MEMORY_BYTES ? { TMPDIR: MEMORY_FOLDER } : {}
  } catch {
    return {}
  }
}

/** Returns the output of a process without what passed. */
function failuresIn(output) {
  const isPassed = /^\s*(ok \d|\d+\.\.\d+|# (Subtest|time|\{)|TAP version|$)/
  return withSources(output)
    .split('\n')
    .flatMap(line => (isPassed.test(line) ? [] : [`    ${line}`]))
    .join('\n')
}

/**
 * Replaces positions in compiled files by those in their sources. Only failures need them: with
 * --enable-source-maps, each process would read the map of each module that it loads.
 */
function withSources(output) {
  const maps = new Map()
  const mapOf = name => {
    const file = `.build/${name}.js.map`
    if (!maps.has(name) && existsSync(file)) maps.set(name, new SourceMap(JSON.parse(readFileSync(file, 'utf8'))))
    return maps.get(name)
  }
  const sourceOf = (name, line, column) => {
    const { originalLine, originalColumn } = mapOf(name)?.findEntry(line - 1, column - 1) ?? {}
    if (originalLine === undefined) return [`.build/${name}.js`, line, column]
    return [`${name}.ts`, originalLine + 1, originalColumn + 1]
  }
  return output
    .replace(/\.build\/([\w./-]+)\.js:(\d+):(\d+)/g, (_, ...place) => sourceOf(...place).join(':'))
    .replace(
      /(?<=fileName: )\.build\/([\w./-]+)\.js(\s+lineNumber: )(\d+)(\s+columnNumber: )(\d+)/g,
      (_, name, ofLine, line, ofColumn, column) => {
        const [file, sourceLine, sourceColumn] = sourceOf(name, line, column)
        return [file, ofLine, sourceLine, ofColumn, sourceColumn].join('')
      },
    )
}
