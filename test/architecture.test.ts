import t from 'tap'
import { factsOf, readTree, type SourceFacts } from './support/repository/source-facts.js'

/**
 * The rings of docs/architecture.md, inside first: what each folder of src may import besides
 * itself.
 */
const DOMAIN = ['contracts', 'images', 'input', 'segment']
const PARTS = [
  'alerts',
  'cache',
  'credits',
  'http',
  'operations',
  'requests',
  'sandbox',
  'schedule',
  'segmind',
  'store',
  'teams',
  'telemetry',
]

const RINGS: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  // from bytes to a question: `images` knows what an image is, `input` reads requests that carry
  // one
  images: ['contracts'],
  input: ['contracts', 'images'],
  segment: ['contracts', 'images', 'input'],
  // the parts: never each other
  alerts: DOMAIN,
  cache: DOMAIN,
  credits: DOMAIN,
  http: DOMAIN,
  operations: DOMAIN,
  requests: DOMAIN,
  sandbox: DOMAIN,
  schedule: DOMAIN,
  segmind: DOMAIN,
  teams: DOMAIN,
  telemetry: DOMAIN,
  store: ['contracts'],
  config: ['contracts'],
  // published for applications, so it knows nothing of the gateway
  client: [],
  // served to browsers, so it uses the client as any application does
  pages: ['client'],
  // the composition root
  app: [...DOMAIN, ...PARTS, 'config'],
  // the process
  cli: [...DOMAIN, ...PARTS, 'config', 'app'],
  'main.ts': [...DOMAIN, ...PARTS, 'config', 'app', 'cli'],
}

/** One folder for each technology of the store, and neither knows the other. */
const STORES: Readonly<Record<string, readonly string[]>> = {
  'store/redis': ['store/embedded'],
  'store/embedded': ['store/redis'],
}

/**
 * The folders and files that may import a library: one that a single file knows can be replaced.
 */
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  '@opentelemetry/api': ['telemetry/tracing.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['telemetry/tracing.ts'],
  '@opentelemetry/exporter-trace-otlp-proto': ['telemetry/tracing.ts'],
  '@opentelemetry/resources': ['telemetry/tracing.ts'],
  '@opentelemetry/sdk-trace-base': ['telemetry/tracing.ts'],
  '@prometheus-io/client': ['telemetry'],
  cockatiel: ['segmind'],
  'ipaddr.js': ['images'],
  marked: ['http'],
  'lru-cache': ['cache', 'images', 'store/memory-blobs.ts'],
  'fs-native-extensions': ['store/embedded/open-lock.ts'],
  fastify: ['http', 'sandbox', 'app'],
  '@fastify/multipart': ['http', 'sandbox'],
  '@fastify/proxy-addr': ['http'],
  '@fastify/rate-limit': ['http'],
  ioredis: ['store/redis'],
  lmdb: ['store/embedded'],
  pino: ['telemetry/log.ts', 'cli'],
  'pino-pretty': ['telemetry/log.ts'],
  sharp: ['images', 'sandbox'],
  standardwebhooks: ['alerts'],
  uplot: ['pages/vendor'],
  undici: ['alerts', 'segmind', 'images'],
  yaml: ['teams', 'http/site'],
}

const ERRORS = [
  'contracts/errors.ts: GatewayError extends Error',
  'contracts/store.ts: StoreError extends Error',
  'client/problem.ts: GatewayProblem extends Error',
]
const MAY_READ_ENV = /^(main\.ts|cli\/)/
const MAY_TALK = /^cli\//
const VAGUE_NAME = /(^|[/-])(utils?|helpers?|services?|commons?|misc)([./-]|$)/
const MAX_LINES = 300

/** Each rule answers its violations, as sentences that name the file. */
const RULES: Readonly<Record<string, (files: readonly SourceFacts[]) => string[]>> = {
  'imports point inwards and never to a sibling': files => files.flatMap(strayImports),
  'no file imports itself by way of others': importCycles,
  'each technology is known to its owners only': files => files.flatMap(strayPackages),
  'only main and the commands read the environment': files =>
    tell(files, ({ path, env }) => (MAY_READ_ENV.test(path) ? [] : env)),
  'only the commands may use the console': files =>
    tell(files, ({ path, console }) => (MAY_TALK.test(path) ? [] : console)),
  'no file or folder is called utils, helpers, services or common': files =>
    tell(files, ({ path }) => (VAGUE_NAME.test(path) ? ['the name says nothing'] : [])),
  'a source file stays under 300 lines': files =>
    tell(files, ({ lines }) => (lines < MAX_LINES ? [] : [`${lines} lines`])),
  // The event loop is one for the whole process, and so is the queue for its iterations.
  'no module keeps state': files =>
    tell(
      files.filter(({ path }) => path !== 'contracts/event-loop.ts'),
      ({ mutableState }) => mutableState,
    ),
  'nothing inherits but the errors': files =>
    tell(files, ({ inheritance }) => inheritance).filter(found => !ERRORS.includes(found)),
}

const source = readTree('src')
const tests = readTree('test')

for (const [name, violations] of Object.entries(RULES)) {
  t.test(name, async t => t.strictSame(violations(source), []))
}

t.test('the rules read the real tree', async t => {
  t.ok(source.some(({ path, imports }) => path === 'segment/pipeline.ts' && imports.includes('contracts/errors.ts')))
  t.ok(
    source.some(({ env }) => env.length > 0),
    'some file reads the environment',
  )
  t.ok(tests.some(({ path }) => path === 'architecture.test.ts'))
})

t.test('every test runs', async t => {
  t.strictSame(
    tell(tests, ({ unrunTests }) => unrunTests),
    [],
  )
})

t.test('every rule detects its offence', async t => {
  const offences: Record<keyof typeof RULES, [path: string, text: string][]> = {
    'imports point inwards and never to a sibling': [
      ['segment/a.ts', `import { ResultCache } from '../cache/result-cache.js'`],
      ['cache/a.ts', `import type { Ledger } from '../credits/ledger.js'`],
      ['cache/a.ts', `export * from '../teams/registry.js'`],
      ['http/a.ts', `const { loadSettings } = await import('../config/index.js')`],
      ['http/a.ts', `let settings: import('../config/index.js').Settings`],
      ['credits/a.ts', `new Worker(new URL('../sandbox/worker.js', import.meta.url))`],
      ['store/a.ts', `import type { LeaderContext } from '../segment/call.js'`],
      ['store/redis/a.ts', `import { openEnvironment } from '../embedded/environment.js'`],
      ['app/a.ts', `import { run } from '../cli/serve.js'`],
      ['images/a.ts', `import { segment } from '../segment/pipeline.js'`],
      ['images/a.ts', `import { readForm } from '../input/form.js'`],
      ['contracts/errors.ts', `import { describe } from '../input/describe.js'`],
      ['novelty/a.ts', ''],
    ],
    'no file imports itself by way of others': [
      ['segment/a.ts', `import { b } from './b.js'`],
      ['segment/b.ts', `import { c } from './c.js'`],
      ['segment/c.ts', `import { a } from './a.js'`],
    ],
    'each technology is known to its owners only': [
      ['segment/a.ts', `import type { FastifyRequest } from 'fastify'`],
      ['http/a.ts', `import { Counter } from '@prometheus-io/client'`],
      ['segment/pipeline.ts', `import sharp from 'sharp'`],
      ['cache/a.ts', `import something from 'left-pad/lib/index.js'`],
    ],
    'only main and the commands read the environment': [
      ['config/a.ts', `const level = process.env.LOG_LEVEL`],
      ['config/a.ts', `const { env } = process`],
      ['config/a.ts', `import { env as surroundings } from 'node:process'`],
      ['config/a.ts', `const all = globalThis.process.env`],
      ['config/a.ts', `const all = process['env']`],
    ],
    'only the commands may use the console': [['http/a.ts', `console.warn('so')`]],
    'no file or folder is called utils, helpers, services or common': [
      ['segment/utils.ts', ''],
      ['utils/text.ts', ''],
      ['http/error-helpers.ts', ''],
      ['common/a.ts', ''],
      ['services/a.ts', ''],
    ],
    'a source file stays under 300 lines': [['segment/a.ts', '\n'.repeat(300)]],
    'no module keeps state': [
      ['cache/a.ts', `let count = 0`],
      ['cache/a.ts', `export var count = 0`],
      ['cache/a.ts', `const SEEN = new Map()\nexport function see(id: string) { SEEN.set(id, true) }`],
      ['cache/a.ts', `const seen: string[] = []\nexport const see = (id: string) => { seen.push(id) }`],
      ['cache/a.ts', `const state = { count: 0 }\nexport function see() { state.count++ }`],
      ['cache/a.ts', `const state = { at: [0] }\nexport function see() { state.at[0] = 1 }`],
      ['cache/a.ts', `class Cache { static count = 0 }`],
    ],
    'nothing inherits but the errors': [
      ['contracts/errors.ts', `export class QuotaError extends GatewayError {}`],
      ['cache/a.ts', `export class SlowCache extends Map<string, string> {}`],
      ['cache/a.ts', `export class GatewayError extends Error {}`],
    ],
  }
  t.strictSame(Object.keys(offences), Object.keys(RULES), 'there is an offence for every rule')
  for (const [name, sources] of Object.entries(offences)) {
    if (name.includes('itself')) {
      t.equal(RULES[name]?.(sources.map(([path, text]) => factsOf(path, text))).length, 1, name)
      continue
    }
    for (const [path, text] of sources) {
      const found = RULES[name]?.([factsOf(path, text)]) ?? []
      t.ok(found.length > 0 && found.every(line => line.startsWith(path)), `${name}: ${path} ${text.trim()}`)
    }
  }
})

t.test('the rules accept innocent code', async t => {
  const innocent: [path: string, text: string][] = [
    ['segment/a.ts', `import { GatewayError } from '../contracts/errors.js'\nimport { hash } from 'node:crypto'`],
    ['cli/a.ts', `import { loadSettings } from '../config/index.js'\nconsole.log(process.env.HOME)`],
    ['cache/a.ts', `const NAMES = new Set(['a'])\nexport const has = (name: string) => NAMES.has(name)`],
    ['cache/a.ts', `const LIMIT = 3\nexport function f() { let count = LIMIT; count++; return [count].sort() }`],
    ['cache/a.ts', `const list = ['a']\nexport function f(list: string[]) { list.push('b') }`],
    ['cache/a.ts', `class Cache { static readonly limit = 3; #count = 0 }`],
    ['http/a.ts', `export const log = { console: 1, env: 2 }\nexport const x = log.console + log.env`],
    ['contracts/store.ts', `export class StoreError extends Error {}`],
    ['cache/a.ts', `export class A implements Iterable<string> {}`],
    ['cache/common-prefix-free.ts'.replace('common-', ''), ''],
  ]
  for (const [path, text] of innocent) {
    const found = Object.values(RULES).flatMap(violations => violations([factsOf(path, text)]))
    t.strictSame(found, [], `${path} ${text}`)
  }
})

t.test('a skipped test is detected', async t => {
  const left = [`t.${'skip'}('later')`, `t.test('x', { ${'todo'}: true }, () => {})`, `t.test.${'only'}('x', () => {})`]
  for (const text of left) t.equal(factsOf('a.test.ts', text).unrunTests.length, 1, text)
  t.strictSame(factsOf('a.test.ts', `const limits = { only: 1 }; fetch('x', { skip: 2 })`).unrunTests, [])
})

function tell(files: readonly SourceFacts[], findings: (file: SourceFacts) => readonly string[]): string[] {
  return files.flatMap(file => findings(file).map(finding => `${file.path}: ${finding}`))
}

/** The ring a file belongs to: its folder, or the file itself. */
function ringOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path
}

function strayImports({ path, imports, threads }: SourceFacts): string[] {
  const ring = ringOf(path)
  const allowed = RINGS[ring]
  if (!allowed) return [`${path}: say in the table of rings what ${ring} may import`]
  const isStray = (target: string) => ringOf(target) !== ring && !allowed.includes(ringOf(target))
  return [...imports, ...threads]
    .filter(target => isStray(target) || isOtherStore(path, target))
    .map(target => `${path}: must not import ${target}`)
}

function isOtherStore(path: string, target: string): boolean {
  const others = Object.entries(STORES).find(([folder]) => path.startsWith(`${folder}/`))?.[1] ?? []
  return others.some(folder => target.startsWith(`${folder}/`))
}

function strayPackages({ path, packages }: SourceFacts): string[] {
  return packages
    .filter(name => !name.startsWith('node:'))
    .filter(name => !OWNERS[name]?.some(owner => path === owner || path.startsWith(`${owner}/`)))
    .map(name => `${path}: must not know ${name} (known to: ${OWNERS[name]?.join(', ') ?? 'no file'})`)
}

/** Each cycle once, from its first file by name. */
function importCycles(files: readonly SourceFacts[]): string[] {
  const imports = new Map(files.map(file => [file.path, file.imports]))
  const cycles = new Set<string>()
  const done = new Set<string>()
  const walk = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) {
      const cycle = trail.slice(start)
      const first = cycle.indexOf([...cycle].sort()[0] as string)
      cycles.add([...cycle.slice(first), ...cycle.slice(0, first)].join(' → '))
    } else if (!done.has(path)) {
      for (const next of imports.get(path) ?? []) walk(next, [...trail, path])
      done.add(path)
    }
  }
  for (const { path } of files) walk(path, [])
  return [...cycles].map(cycle => `${cycle} → …`)
}
