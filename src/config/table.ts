import {
  address,
  anyText,
  bytes,
  credits,
  flag,
  hostList,
  httpUrl,
  oneOf,
  path,
  redisUrl,
  reserve,
  retentionDays,
  timeZone,
  token,
  trustProxy,
  webhookSecret,
  webhookUrl,
  wholeNumber,
} from './forms.js'
import { optional, type Setting, secret, setting } from './setting.js'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const HOUR_MS = 3_600_000
const TEN_YEARS_SECONDS = 315_360_000

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const LOG_FORMATS = 'json: one JSON object per line; pretty: text for people; auto: pretty on a terminal, else json.'

/** All settings of this version (docs/reference.md, Settings), as slice → member → setting. */
export const SETTINGS = {
  server: {
    host: setting('HOST', address, '0.0.0.0', 'Address to listen on for callers.'),
    port: setting('PORT', wholeNumber(0, 65535), '8080', 'Port for callers; 0 chooses a free one.'),
    metricsHost: setting('METRICS_HOST', address, '127.0.0.1', 'Address to listen on for Prometheus.'),
    metricsPort: setting('METRICS_PORT', wholeNumber(0, 65535), '9464', 'Port for Prometheus; 0 chooses a free one.'),
    clientTimeoutMs: setting(
      'CLIENT_TIMEOUT_MS',
      wholeNumber(1, HOUR_MS),
      '60000',
      'Longest wait of a caller, in milliseconds. A purchase continues after it.',
    ),
    maxConnections: setting(
      'MAX_CONNECTIONS',
      wholeNumber(0, 1_000_000),
      '4096',
      'Open connections of callers; 0 = no limit. Lowered where the process may open fewer files.',
    ),
    maxConnectionsPerAddress: setting(
      'MAX_CONNECTIONS_PER_ADDRESS',
      wholeNumber(0, 1_000_000),
      '512',
      'The same for each client address, except trusted proxies.',
    ),
    trustProxy: setting('TRUST_PROXY', trustProxy, 'false', 'Proxies whose X-Forwarded-* headers are trusted.'),
    shutdownTimeoutMs: setting(
      'SHUTDOWN_TIMEOUT_MS',
      wholeNumber(0, HOUR_MS),
      '130000',
      'Longest time from the signal to the end of a stop, which waits for paid calls, in milliseconds.',
    ),
    shutdownDelayMs: setting(
      'SHUTDOWN_DELAY_MS',
      wholeNumber(0, HOUR_MS),
      '0',
      'Time after the signal in which /readyz is 503 and requests are still served, for load balancers.',
    ),
  },
  segmind: {
    apiKey: secret(
      'SEGMIND_API_KEY',
      token,
      'The shared Segmind key. Required in production, unless SANDBOX=true or SANDBOX_URL is set.',
    ),
    baseUrl: setting('SEGMIND_BASE_URL', httpUrl, 'https://api.segmind.com', 'Base URL of Segmind.'),
    api: setting(
      'SEGMIND_API',
      oneOf('v1', 'v2'),
      'v1',
      'API of Segmind: v1 waits for the response, v2 submits a job and polls it.',
    ),
    history: setting(
      'SEGMIND_HISTORY',
      oneOf('auto', 'off'),
      'auto',
      "Read Segmind's request history: exact costs of unknown calls, spending by others, lost pictures.",
    ),
    historyUrl: setting(
      'SEGMIND_HISTORY_URL',
      httpUrl,
      'https://api.spotprod.segmind.com',
      'Base URL of the request history. With another SEGMIND_BASE_URL it is read only where this is set too.',
    ),
    timeoutMs: setting(
      'SEGMIND_TIMEOUT_MS',
      wholeNumber(1, HOUR_MS),
      '120000',
      'Longest time of one call to Segmind, in milliseconds.',
    ),
    retryServerErrors: setting(
      'RETRY_SERVER_ERRORS',
      flag,
      'true',
      'Retry once after a 500, 502 or 504 of Segmind, which it does not bill.',
    ),
    maxConcurrency: setting(
      'SEGMIND_MAX_CONCURRENCY',
      wholeNumber(1, 10_000),
      '8',
      'Concurrent calls to Segmind of all replicas together.',
    ),
    requestsPerMinute: setting(
      'SEGMIND_REQUESTS_PER_MINUTE',
      wholeNumber(0, 1_000_000),
      '0',
      'Calls to Segmind a minute of all replicas together; 0: as many as Segmind accepts.',
    ),
  },
  queue: {
    max: setting(
      'QUEUE_MAX',
      wholeNumber(0, 1_000_000),
      '256',
      'Purchases of all replicas together that may wait in the queue.',
    ),
    timeoutMs: setting(
      'QUEUE_TIMEOUT_MS',
      wholeNumber(1, HOUR_MS),
      '30000',
      'Longest wait in the queue, in milliseconds.',
    ),
  },
  store: {
    redisUrl: secret(
      'REDIS_URL',
      redisUrl,
      'Redis for results, images and the ledger. Without it, the embedded store in DATA_DIR is used.',
    ),
    dataDir: setting(
      'DATA_DIR',
      path,
      './data',
      'Folder of the embedded store. With Redis, folder of ledger steps that wait while Redis is down.',
    ),
    maxBytes: setting(
      'STORE_MAX_BYTES',
      bytes(MIB, 1024 * GIB),
      '10GiB',
      'Size limit of results and images in the embedded store.',
    ),
  },
  cache: {
    ttlSeconds: setting(
      'CACHE_TTL_SECONDS',
      wholeNumber(1, TEN_YEARS_SECONDS),
      '2592000',
      'Time that a result stays fresh.',
    ),
    staleSeconds: setting(
      'STALE_SECONDS',
      wholeNumber(0, TEN_YEARS_SECONDS),
      '604800',
      'Time that a result is kept after that, to stand in for failures.',
    ),
    coalesce: setting('COALESCE', flag, 'on', 'Identical concurrent requests share one purchase.'),
    scope: setting(
      'CACHE_SCOPE',
      oneOf('shared', 'team'),
      'shared',
      'shared: all teams share results and images. team: each team has its own.',
    ),
    memoryBytes: setting(
      'MEMORY_CACHE_BYTES',
      bytes(0, 64 * GIB),
      '256MiB',
      'Memory for results in each process; 0 for none.',
    ),
  },
  images: {
    ttlSeconds: setting(
      'IMAGE_TTL_SECONDS',
      wholeNumber(0, TEN_YEARS_SECONDS),
      '86400',
      'Time that an image is kept after its last use, to be named by its id; 0 for never.',
    ),
    maxBytes: setting('MAX_IMAGE_BYTES', bytes(1, 256 * MIB), '20MiB', 'Largest accepted image.'),
    pixelDigest: setting('PIXEL_DIGEST', flag, 'false', 'Decode purchases, so that waste finds equal pixels.'),
    maxPixels: setting('MAX_IMAGE_PIXELS', wholeNumber(1, 1e9), '50000000', 'Largest number of pixels of an image.'),
    orientation: setting(
      'IMAGE_ORIENTATION',
      oneOf('applied', 'ignored'),
      'applied',
      'Whether Segmind turns photos by EXIF.',
    ),
    stripMetadata: setting('STRIP_METADATA', oneOf('none', 'location', 'all'), 'none', 'Metadata removed from images.'),
    urls: setting('IMAGE_URLS', flag, 'true', 'Accept images as http(s) URLs.'),
    urlHosts: optional(
      'IMAGE_URL_HOSTS',
      hostList,
      'Allowed hosts of image URLs; .example.com means its subdomains. Default: public addresses, ports 80 and 443.',
    ),
  },
  upload: {
    memoryBytes: setting(
      'UPLOAD_MEMORY_BYTES',
      bytes(1, 1024 * GIB),
      '512MiB',
      'Memory for images and answers in transit, for each process.',
    ),
    base64Default: setting('BASE64_DEFAULT', flag, 'false', 'Default of the field `base64`.'),
    allowNoSelection: setting(
      'ALLOW_NO_SELECTION',
      flag,
      'false',
      'Drop-in endpoints (/v1, /v2) accept an image without prompt and coordinates.',
    ),
    resultUrlTtlSeconds: setting(
      'RESULT_URL_TTL',
      wholeNumber(1, TEN_YEARS_SECONDS),
      '3600',
      'Lifetime of the result URLs of /v2, which need no key, in seconds.',
    ),
  },
  teams: {
    file: optional(
      'TEAMS_FILE',
      path,
      'Teams and their keys. Default: teams.yaml in DATA_DIR. ' +
        'Required in production, unless SANDBOX=true or SANDBOX_URL is set.',
    ),
    adminKey: secret('ADMIN_KEY', token, 'Key of the operators, for everything under /admin.'),
  },
  credits: {
    priceEstimate: setting(
      'PRICE_ESTIMATE_CREDITS',
      credits,
      '0.002',
      'Expected cost of a call until costs are known.',
    ),
    timeZone: setting('BUDGET_TIMEZONE', timeZone, 'UTC', 'Time zone of budget days and months.'),
    budgetFail: setting(
      'BUDGET_FAIL',
      oneOf('closed', 'open'),
      'closed',
      'Teams with a budget while the store is down: closed refuses their purchases, open allows them.',
    ),
    reserve: setting(
      'RESERVE_CREDITS',
      reserve,
      '0',
      'Last credits of the account, which only protected teams may spend; 0 for none.',
    ),
    retentionDays: setting('LEDGER_RETENTION_DAYS', retentionDays, '400', 'Days the ledger keeps calls; 0 keeps all.'),
    chargeback: setting(
      'CHARGEBACK',
      oneOf('first-payer', 'split'),
      'first-payer',
      'Cost of a result that several teams use: first-payer charges the buyer, split shares it in equal parts.',
    ),
  },
  alerts: {
    webhookUrl: secret('ALERT_WEBHOOK_URL', webhookUrl, 'Webhook for alerts, as signed JSON (Standard Webhooks).'),
    webhookSecret: secret(
      'ALERT_WEBHOOK_SECRET',
      webhookSecret,
      'Signing secret of alerts. Default: generated once and kept in the store.',
    ),
  },
  log: {
    level: setting('LOG_LEVEL', oneOf(...LOG_LEVELS), 'info', 'Lowest level that is logged.'),
    format: setting('LOG_FORMAT', oneOf('auto', 'json', 'pretty'), 'auto', LOG_FORMATS),
  },
  mode: {
    environment: optional('NODE_ENV', anyText, 'production requires SEGMIND_API_KEY and TEAMS_FILE.'),
    sandbox: optional(
      'SANDBOX',
      flag,
      'Use the built-in sandbox instead of Segmind. Default: true without a key, outside production.',
    ),
    sandboxUrl: optional(
      'SANDBOX_URL',
      httpUrl,
      'Separate sandbox with the key SG_sandbox, used instead of Segmind if there is no key and SANDBOX is not set.',
    ),
  },
} as const

type Table = typeof SETTINGS
export type SliceName = keyof Table

/** Values of all settings, typed by their forms; `undefined` without value and default. */
export type Slices = {
  [S in SliceName]: { [M in keyof Table[S]]: Table[S][M] extends Setting<infer T> ? T : never }
}
