import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from '../../../src/app/start.js'
import { loadSettings } from '../../../src/config/index.js'
import type { Clock } from '../../../src/contracts/clock.js'
import { defined } from '../../../src/contracts/defined.js'
import { readSite } from '../../../src/http/site/site.js'
import type { Segmenter } from '../../../src/sandbox/segmenter.js'
import { createApiKey } from '../../../src/teams/api-key.js'
import { createLog } from '../../../src/telemetry/log.js'
import type { Tracing } from '../../../src/telemetry/tracing.js'
import { smallJpeg } from '../../fixtures/odd-images.js'
import { type FakeSegmind, startFakeSegmind } from '../doubles/fake-segmind.js'
import { createPlainSegmenter } from '../doubles/plain-segmenter.js'
import { type TeamFields, writeTeamsFile } from './teams-file.js'

/** All gateways of a process share these files, whose reading is a third of a start. */
const site = await readSite()

export interface TestGatewayOptions {
  /** Override the settings of tests: free ports, a separate folder, log level `debug`. */
  env?: Record<string, string>
  /** Default: a separate fake Segmind, which ends with the gateway. */
  upstream?: FakeSegmind
  /** Default: the embedded store. */
  redisUrl?: string
  /** By id; each gets one key. Default: one team `vision` without a budget. */
  teams?: Record<string, TeamFields>
  /**
   * Keys by team, for a gateway that continues after another one or runs next to it. Default: new
   * keys.
   */
  keys?: Record<string, string>
  /**
   * Segmenter for test keys. The default ignores the photo, which saves a second of CPU per test.
   */
  segmenter?: Segmenter
  /** Receives the finished requests for tracing. */
  tracing?: Pick<Tracing, 'finished'> | undefined
  /** The clock of the machine. */
  now?: Clock
  /** Reads the request history of the upstream, as often as this. Default: not at all. */
  historyTimes?: { everyMs: number; spacingMs: number }
  /** Data folder that is kept. Default: a new folder that is removed with the gateway. */
  dataDir?: string
}

/** A parsed log line. Each request writes one line whose `msg` is `request`. */
export type LogLine = Record<string, unknown> & { level: string; msg: string }

interface SegmentOptions {
  /** Default: always the same small JPEG. */
  image?: Buffer
  headers?: Record<string, string>
  /** Team whose key is sent. Default: the first team. */
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
  /** Resolves with the first earlier or later log line for which `matches` returns true. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>
  /**
   * Sends a request with the first team's key. `headers` can override `x-api-key`; an empty one is
   * omitted.
   */
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** Sends `POST /segment` as a form, image last. Default: the prompt `dog`. */
  segment(fields?: Record<string, string>, options?: SegmentOptions): Promise<Response>
  /** The metrics as Prometheus reads them. */
  metrics(): Promise<string>
  /** Repeated calls have no effect. */
  stop(): Promise<void>
}

/** Starts the whole gateway through its settings, in this process, on free loopback ports. */
export async function startTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'gateway-test-')))
  const testKey = createApiKey({ isTest: true }).text
  const { teams = { vision: {} }, keys: given = {} } = options
  const { file: teamsFile, keys } = await writeTeamsFile<string>(dataDir, teams, { keys: given, testKey })
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
    ...(options.historyTimes && { SEGMIND_HISTORY_URL: upstream.url }),
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
    historyTimes: options.historyTimes,
    segmenter: options.segmenter ?? createPlainSegmenter(),
    site,
    ...defined({ now: options.now }),
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
    logged: matches => log.first(matches),
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

/** Builds a form for `POST /segment`, as apps send it. */
export function segmentForm(fields: Record<string, string>, image: Buffer): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('image', new Blob([new Uint8Array(image)], { type: 'image/jpeg' }), 'photo.jpg')
  return form
}

/** Writes a teams file with one key for every team. Returns the keys. */
function captureLog() {
  const written: string[] = []
  let waiting: { matches(line: LogLine): boolean; resolve(line: LogLine): void }[] = []
  const lines = () => written.map(line => JSON.parse(line) as LogLine)
  return {
    write(text: string) {
      written.push(text)
      const line = JSON.parse(text) as LogLine
      for (const { resolve } of waiting.filter(one => one.matches(line))) resolve(line)
      waiting = waiting.filter(one => !one.matches(line))
    },
    text: () => written.join(''),
    lines,
    first(matches: (line: LogLine) => boolean): Promise<LogLine> {
      const known = lines().find(matches)
      return known ? Promise.resolve(known) : new Promise(resolve => waiting.push({ matches, resolve }))
    },
  }
}
