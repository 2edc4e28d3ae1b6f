import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { loadSettings } from '../../src/config.js'
import { startGateway } from '../../src/gateway.js'
import { createLog } from '../../src/log.js'
import { createApiKey, hashApiKey, parseApiKey } from '../../src/teams/api-key.js'
import type { Tracing } from '../../src/tracing.js'
import { smallJpeg } from '../fixtures/odd-images.js'
import { type FakeSegmind, startFakeSegmind } from './fake-segmind.js'

/** A team as the teams file has it (SPEC §7), without its id and its keys: `limits`, `budget`, `disabled`, … */
export type TeamFields = Record<string, unknown>

export interface TestGatewayOptions {
  /** Settings over those a test needs: free ports, a folder of its own, the log at `debug`. */
  env?: Record<string, string>
  /** Default: a fake Segmind of its own, which ends with the gateway. */
  upstream?: FakeSegmind
  /** Default: the embedded store. */
  redisUrl?: string
  /** By id; each gets one key. Default: one team `vision` without a budget. */
  teams?: Record<string, TeamFields>
  /** Texts of keys by team, for a gateway that goes on where another one stopped, or stands beside it. Default: fresh ones. */
  keys?: Record<string, string>
  /** Where traces go. */
  tracing?: Pick<Tracing, 'finished'> | undefined
  /** A folder that outlives this gateway. Default: a new one that does not. */
  dataDir?: string
}

/** One line of the log as it was written, parsed; `msg` is `request` for the one line of each request. */
export type LogLine = Record<string, unknown> & { level: string; msg: string }

export interface SegmentOptions {
  /** Default: a small JPEG, always the same. */
  image?: Buffer
  headers?: Record<string, string>
  /** Whose key is sent. Default: the first team's. */
  team?: string
  signal?: AbortSignal
}

export interface TestGateway {
  url: string
  metricsUrl: string
  /** The key of the first team, and of every team by its id. */
  key: string
  keys: Record<string, string>
  /** A test key of the first team. */
  testKey: string
  upstream: FakeSegmind
  dataDir: string
  teamsFile: string
  /** Every log line so far, as text and parsed. */
  logText(): string
  log(): LogLine[]
  /** Resolves with the first log line, written already or not, that `isIt`. */
  logged(isIt: (line: LogLine) => boolean): Promise<LogLine>
  /** Sends any request, with the first team's key unless `headers` hold an `x-api-key` of their own (an empty one is left out). */
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** `POST /segment` as a form, image last. Default: the prompt `dog`. */
  segment(fields?: Record<string, string>, options?: SegmentOptions): Promise<Response>
  /** The metrics as Prometheus reads them. */
  metrics(): Promise<string>
  /** Once is enough, twice is harmless. */
  stop(): Promise<void>
}

/** Starts the whole gateway through its settings, in this process, on free ports of the loopback. */
export async function startTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'gateway-test-')))
  const { file: teamsFile, keys, testKey } = await writeTeams(dataDir, options)
  const upstream = options.upstream ?? (await startFakeSegmind())
  const log = captureLog()
  const settings = loadSettings({
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    DATA_DIR: dataDir,
    TEAMS_FILE: teamsFile,
    STORE_MAX_BYTES: '64MiB',
    SEGMIND_API_KEY: upstream.apiKey,
    SHUTDOWN_TIMEOUT_MS: '10000',
    LOG_LEVEL: 'debug',
    ...(options.redisUrl ? { REDIS_URL: options.redisUrl } : {}),
    ...options.env,
  })
  const closeOwn = async () => {
    if (!options.upstream) await upstream.close()
    if (!options.dataDir) await rm(dataDir, { recursive: true, force: true })
  }
  const gateway = await startGateway({
    settings,
    log: createLog(settings.log.level, log),
    upstream: { baseUrl: upstream.url, apiKey: upstream.apiKey },
    tracing: options.tracing,
  }).catch(async error => {
    await closeOwn()
    throw error
  })
  const [key = ''] = Object.values(keys)
  const image = await smallJpeg()
  let stopping: Promise<void> | undefined
  const stop = async () => {
    await gateway.stop()
    await closeOwn()
  }
  const send: TestGateway['fetch'] = (path, init = {}) => {
    const headers = new Headers(init.headers)
    if (!headers.has('x-api-key')) headers.set('x-api-key', key)
    if (headers.get('x-api-key') === '') headers.delete('x-api-key')
    return fetch(gateway.url + path, { ...init, headers })
  }
  return {
    url: gateway.url,
    metricsUrl: gateway.metricsUrl,
    key,
    keys,
    testKey,
    upstream,
    dataDir,
    teamsFile,
    logText: () => log.text(),
    log: () => log.lines(),
    logged: isIt => log.first(isIt),
    fetch: send,
    segment(fields = { prompt: 'dog' }, { image: own = image, headers, team, signal } = {}) {
      const theirs = team === undefined ? {} : { 'x-api-key': keys[team] ?? '' }
      const body = segmentForm(fields, own)
      return send('/segment', { method: 'POST', body, headers: { ...theirs, ...headers }, signal: signal ?? null })
    },
    metrics: async () => (await fetch(`${gateway.metricsUrl}/metrics`)).text(),
    stop: () => {
      stopping ??= stop()
      return stopping
    },
  }
}

/** A form as apps send it to `POST /segment`. */
export function segmentForm(fields: Record<string, string>, image: Buffer): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('image', new Blob([new Uint8Array(image)], { type: 'image/jpeg' }), 'photo.jpg')
  return form
}

/** Writes a teams file with one key for every team; the texts of fresh keys are nowhere but in the answer. */
async function writeTeams(dir: string, { teams = { vision: {} }, keys: given = {} }: TestGatewayOptions) {
  const keys = Object.fromEntries(Object.keys(teams).map(id => [id, given[id] ?? createApiKey().text]))
  const testKey = createApiKey({ isTest: true }).text
  const entries = Object.entries(teams).map(([id, fields], index) => ({
    ...{ id, ...fields },
    keys: [keyEntry(keys[id] ?? ''), ...(index === 0 ? [keyEntry(testKey)] : [])],
  }))
  const file = join(dir, 'teams.yaml')
  await mkdir(dir, { recursive: true })
  await writeFile(file, stringify({ teams: entries }))
  return { file, keys, testKey }
}

function keyEntry(text: string) {
  const id = parseApiKey(text)?.id
  if (id === undefined) throw new Error('a test team was given a text that is no key')
  return { id, sha256: hashApiKey(text).toString('hex') }
}

function captureLog() {
  const written: string[] = []
  let waiting: { isIt(line: LogLine): boolean; resolve(line: LogLine): void }[] = []
  const lines = () => written.map(line => JSON.parse(line) as LogLine)
  return {
    write(text: string) {
      written.push(text)
      const line = JSON.parse(text) as LogLine
      for (const { resolve } of waiting.filter(one => one.isIt(line))) resolve(line)
      waiting = waiting.filter(one => !one.isIt(line))
    },
    text: () => written.join(''),
    lines,
    first(isIt: (line: LogLine) => boolean): Promise<LogLine> {
      const known = lines().find(isIt)
      return known ? Promise.resolve(known) : new Promise(resolve => waiting.push({ isIt, resolve }))
    },
  }
}
