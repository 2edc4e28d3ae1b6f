import {
  address,
  anyText,
  bytes,
  credits,
  type Form,
  flag,
  hostList,
  httpUrl,
  oneOf,
  path,
  redisUrl,
  reserve,
  secretly,
  timeZone,
  token,
  trustProxy,
  webhookSecret,
  webhookUrl,
  wholeNumber,
} from './forms.js'
import type { Secret } from './secret.js'

/** One setting: its environment variable, its written form and bounds, its default as one would write it, what it does. */
export interface Setting<T> {
  name: string
  form: Form<T>
  default: string | undefined
  /** Whether the value may also come from the file that `NAME_FILE` names. */
  secret: boolean
  description: string
}

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const HOUR_MS = 3_600_000
const TEN_YEARS_SECONDS = 315_360_000

/** Every setting of this version (SPEC §9), by the slice that gets it: slice → member → setting. */
export const SETTINGS = {
  server: {
    host: setting('HOST', address, '0.0.0.0', 'Where to listen, for callers and for metrics.'),
    port: setting('PORT', wholeNumber(0, 65535), '8080', 'Port for callers; 0 takes a free one.'),
    metricsPort: setting('METRICS_PORT', wholeNumber(0, 65535), '9464', 'Port for Prometheus; 0 takes a free one.'),
    clientTimeoutMs: setting(
      'CLIENT_TIMEOUT_MS',
      wholeNumber(1, HOUR_MS),
      '60000',
      'How long a caller is kept waiting.',
    ),
    trustProxy: setting('TRUST_PROXY', trustProxy, 'false', 'Proxies whose X-Forwarded-For is believed.'),
    shutdownTimeoutMs: setting(
      'SHUTDOWN_TIMEOUT_MS',
      wholeNumber(0, HOUR_MS),
      '130000',
      'How long a stop waits for paid calls.',
    ),
  },
  segmind: {
    apiKey: secret(
      'SEGMIND_API_KEY',
      token,
      'The shared Segmind key. Needed in production, unless SANDBOX=true or SANDBOX_URL is set.',
    ),
    baseUrl: setting('SEGMIND_BASE_URL', httpUrl, 'https://api.segmind.com', 'Where Segmind is.'),
    api: setting(
      'SEGMIND_API',
      oneOf('v1', 'v2'),
      'v1',
      'How Segmind is called: v1 waits for the answer; v2 submits a job and polls it.',
    ),
    timeoutMs: setting('SEGMIND_TIMEOUT_MS', wholeNumber(1, HOUR_MS), '120000', 'How long one upstream call may take.'),
    retryServerErrors: setting(
      'RETRY_SERVER_ERRORS',
      flag,
      'true',
      'Whether 500, 502 and 504 of Segmind, which it does not bill, are tried once more.',
    ),
    maxConcurrency: setting('SEGMIND_MAX_CONCURRENCY', wholeNumber(1, 10_000), '8', 'Upstream calls at the same time.'),
  },
  queue: {
    max: setting('QUEUE_MAX', wholeNumber(0, 1_000_000), '256', 'Requests that may wait for an upstream call.'),
    timeoutMs: setting('QUEUE_TIMEOUT_MS', wholeNumber(1, HOUR_MS), '30000', 'How long a request waits for its turn.'),
  },
  store: {
    redisUrl: secret(
      'REDIS_URL',
      redisUrl,
      'Redis for results, images and the ledger; without it they are in DATA_DIR.',
    ),
    dataDir: setting(
      'DATA_DIR',
      path,
      './data',
      'Folder of the embedded store; with Redis, of what waits for a Redis that is down.',
    ),
    maxBytes: setting('STORE_MAX_BYTES', bytes(MIB, 1024 * GIB), '10GiB', 'Room for the embedded store.'),
  },
  cache: {
    ttlSeconds: setting(
      'CACHE_TTL_SECONDS',
      wholeNumber(1, TEN_YEARS_SECONDS),
      '2592000',
      'How long a result is fresh.',
    ),
    staleSeconds: setting(
      'STALE_SECONDS',
      wholeNumber(0, TEN_YEARS_SECONDS),
      '604800',
      'How long it is kept after that.',
    ),
    coalesce: setting('COALESCE', flag, 'on', 'Whether identical requests at the same time share one purchase.'),
    scope: setting('CACHE_SCOPE', oneOf('shared', 'team'), 'shared', 'Who shares results: all teams, or each its own.'),
    memoryBytes: setting('MEMORY_CACHE_BYTES', bytes(0, 64 * GIB), '256MiB', 'Results kept in memory; 0 keeps none.'),
  },
  images: {
    ttlSeconds: setting(
      'IMAGE_TTL_SECONDS',
      wholeNumber(0, TEN_YEARS_SECONDS),
      '86400',
      'How long an image is kept by its id; 0 keeps none.',
    ),
    maxBytes: setting('MAX_IMAGE_BYTES', bytes(1, 256 * MIB), '20MiB', 'The largest image accepted.'),
    pixelDigest: setting(
      'PIXEL_DIGEST',
      flag,
      'false',
      'Whether bought images are decoded to tell equal pixels under other bytes in the waste report.',
    ),
    maxPixels: setting('MAX_IMAGE_PIXELS', wholeNumber(1, 1e9), '50000000', 'The most pixels an image may have.'),
    urls: setting('IMAGE_URLS', flag, 'true', 'Whether images may be given as http(s) URLs.'),
    urlHosts: optional(
      'IMAGE_URL_HOSTS',
      hostList,
      'The only hosts such URLs may name; .example.com means all below it. Without it: public addresses, ports 80 and 443.',
    ),
  },
  upload: {
    memoryBytes: setting('UPLOAD_MEMORY_BYTES', bytes(1, 1024 * GIB), '512MiB', 'Uploads held in memory at once.'),
    base64Default: setting('BASE64_DEFAULT', flag, 'false', 'The field `base64` of requests that do not say.'),
    allowNoSelection: setting(
      'ALLOW_NO_SELECTION',
      flag,
      'false',
      "Whether Segmind's own addresses (/v1, /v2) pass on an image without a prompt and points.",
    ),
    resultUrlTtlSeconds: setting(
      'RESULT_URL_TTL',
      wholeNumber(1, TEN_YEARS_SECONDS),
      '3600',
      'How long the address of a result that /v2 answers opens without a key, in seconds.',
    ),
  },
  teams: {
    file: optional(
      'TEAMS_FILE',
      path,
      'Teams and their keys. Default: teams.yaml in DATA_DIR; needed in production, unless SANDBOX=true or SANDBOX_URL is set.',
    ),
    adminKey: secret('ADMIN_KEY', token, "The operators' key, for everything under /admin."),
  },
  credits: {
    priceEstimate: setting(
      'PRICE_ESTIMATE_CREDITS',
      credits,
      '0.002',
      'What a call is thought to cost until it is known.',
    ),
    timeZone: setting('BUDGET_TIMEZONE', timeZone, 'UTC', 'Where budget days and months begin.'),
    budgetFail: setting('BUDGET_FAIL', oneOf('closed', 'open'), 'closed', 'Budgeted teams while the store is down.'),
    reserve: setting(
      'RESERVE_CREDITS',
      reserve,
      '0',
      'Credits of the account that only teams marked protected may spend; 0 keeps none back.',
    ),
    chargeback: setting(
      'CHARGEBACK',
      oneOf('first-payer', 'split'),
      'first-payer',
      'Who bears an answer that several teams use: who bought it, or all of them in equal parts.',
    ),
  },
  alerts: {
    webhookUrl: secret('ALERT_WEBHOOK_URL', webhookUrl, 'Where alerts are posted as signed JSON (Standard Webhooks).'),
    webhookSecret: secret(
      'ALERT_WEBHOOK_SECRET',
      webhookSecret,
      'Key they are signed with. Default: one made once, kept in the store.',
    ),
  },
  log: {
    level: setting(
      'LOG_LEVEL',
      oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
      'info',
      'How much is logged.',
    ),
  },
  mode: {
    environment: optional('NODE_ENV', anyText, 'production makes SEGMIND_API_KEY and TEAMS_FILE necessary.'),
    sandbox: optional(
      'SANDBOX',
      flag,
      'The built-in stand-in for Segmind. Default: outside production, true without a key.',
    ),
    sandboxUrl: optional(
      'SANDBOX_URL',
      httpUrl,
      'A sandbox that runs apart, with the key SG_sandbox: stands in for Segmind where there is no key and SANDBOX is not set.',
    ),
  },
} as const

/** A setting of a later version: any value but its default is refused at start, never ignored. */
export interface LaterSetting {
  name: string
  form: Form<unknown>
  default: string | undefined
}

export const LATER_SETTINGS: readonly LaterSetting[] = [
  { name: 'SEGMIND_REQUESTS_PER_MINUTE', form: wholeNumber(0, 1e9), default: '0' },
  { name: 'REDIS_CLUSTER', form: anyText, default: undefined },
  { name: 'REDIS_SENTINELS', form: anyText, default: undefined },
  { name: 'REDIS_MASTER_NAME', form: anyText, default: undefined },
  { name: 'WORKERS', form: wholeNumber(1, 1e9), default: '1' },
]

type Table = typeof SETTINGS
export type SliceName = keyof Table

/** The values of every setting, typed by their forms; `undefined` where one has neither value nor default. */
export type Slices = {
  [S in SliceName]: { [M in keyof Table[S]]: Table[S][M] extends Setting<infer T> ? T : never }
}

function setting<T>(name: string, form: Form<T>, written: string, description: string): Setting<T> {
  return { name, form, default: written, secret: false, description }
}

function optional<T>(name: string, form: Form<T>, description: string): Setting<T | undefined> {
  return { name, form, default: undefined, secret: false, description }
}

function secret(name: string, form: Form<string>, description: string): Setting<Secret | undefined> {
  return { name, form: secretly(form), default: undefined, secret: true, description }
}
