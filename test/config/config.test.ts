import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import {
  envExample,
  isSettingsError,
  loadSettings,
  loadSlices,
  SETTINGS,
  settingsMarkdown,
  teamsFile,
} from '../../src/config/index.js'

const PRODUCTION = {
  NODE_ENV: 'production',
  SEGMIND_API_KEY: 'SG_0123456789abcdef',
  TEAMS_FILE: '/etc/gateway/teams.yaml',
}

const DEFAULTS = loadSettings({})

/**
 * The problems of these settings, each as the name it begins with; the whole lines by `problemsOf`.
 */
function problemsOf(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    loadSettings(env)
    return []
  } catch (error) {
    if (isSettingsError(error)) return error.problems
    throw error
  }
}

function messageOf(env: NodeJS.ProcessEnv): string {
  try {
    loadSettings(env)
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

const namesOf = (env: NodeJS.ProcessEnv) => problemsOf(env).map(problem => problem.split(':')[0])

t.test('an empty environment gives the documented defaults and the sandbox', async t => {
  const { warnings, ...settings } = loadSettings({})
  t.strictSame(warnings, [])
  t.strictSame(settings, {
    server: {
      host: '0.0.0.0',
      port: 8080,
      metricsHost: '127.0.0.1',
      metricsPort: 9464,
      clientTimeoutMs: 60_000,
      maxConnections: 4096,
      maxConnectionsPerAddress: 512,
      trustProxy: false,
      shutdownTimeoutMs: 130_000,
      shutdownDelayMs: 0,
    },
    segmind: {
      apiKey: undefined,
      baseUrl: 'https://api.segmind.com',
      history: 'auto',
      historyUrl: 'https://api.spotprod.segmind.com',
      api: 'v1',
      timeoutMs: 120_000,
      retryServerErrors: true,
      maxConcurrency: 8,
      requestsPerMinute: 0,
    },
    queue: { max: 256, timeoutMs: 30_000 },
    store: { redisUrl: undefined, dataDir: './data', maxBytes: 10 * 1024 ** 3, isSandbox: true },
    cache: {
      ttlSeconds: 2_592_000,
      staleSeconds: 604_800,
      scope: 'shared',
      coalesce: true,
      memoryBytes: 256 * 1024 ** 2,
    },
    images: {
      ttlSeconds: 86_400,
      maxBytes: 20 * 1024 ** 2,
      pixelDigest: false,
      maxPixels: 50_000_000,
      orientation: 'applied',
      stripMetadata: 'none',
      urls: true,
      urlHosts: undefined,
    },
    upload: {
      memoryBytes: 512 * 1024 ** 2,
      base64Default: false,
      allowNoSelection: false,
      resultUrlTtlSeconds: 3600,
    },
    teams: { file: 'data/teams.yaml', isDefaultFile: true, adminKey: undefined },
    credits: {
      priceEstimate: 2_000_000,
      timeZone: 'UTC',
      budgetFail: 'closed',
      reserve: 0,
      retentionDays: 400,
      chargeback: 'first-payer',
    },
    alerts: { webhookUrl: undefined, webhookSecret: undefined },
    log: { level: 'info', format: 'auto' },
    production: false,
    sandbox: true,
    sandboxUrl: undefined,
  })
})

t.test('empty and blank variables count as not set, as compose files pass them', async t => {
  const names = Object.values(SETTINGS).flatMap(slice => Object.values(slice).map(setting => setting.name))
  for (const blank of ['', '  ']) {
    t.strictSame(loadSettings(Object.fromEntries(names.map(name => [name, blank]))), DEFAULTS)
  }
})

t.test('an explicit default value changes nothing', async t => {
  for (const { name, default: written } of Object.values(SETTINGS).flatMap(slice => Object.values(slice))) {
    if (written !== undefined) t.strictSame(loadSettings({ [name]: written }), DEFAULTS, name)
  }
})

t.test('the sandbox has a separate store, also for commands that load few slices', async t => {
  const isSandbox = (env: NodeJS.ProcessEnv) => [
    loadSettings(env).store.isSandbox,
    loadSlices(env, ['store']).store.isSandbox,
  ]
  t.strictSame(isSandbox({}), [true, true])
  t.strictSame(isSandbox({ NODE_ENV: 'production', SANDBOX: 'true' }), [true, true])
  t.strictSame(isSandbox(PRODUCTION), [false, false])
  t.strictSame(isSandbox({ SEGMIND_API_KEY: 'SG_0123456789abcdef' }), [false, false])
  t.equal(
    loadSlices({ NODE_ENV: 'production' }, ['store']).store.isSandbox,
    false,
    'a missing key alone selects no sandbox',
  )
})

const ACCEPTED: [
  name: string,
  text: string,
  pick: (settings: ReturnType<typeof loadSettings>) => unknown,
  value: unknown,
][] = [
  ['HOST', '::', s => s.server.host, '::'],
  ['HOST', 'gateway.internal', s => s.server.host, 'gateway.internal'],
  ['PORT', '0', s => s.server.port, 0],
  ['PORT', ' 65535 ', s => s.server.port, 65535],
  ['SEGMIND_BASE_URL', 'http://127.0.0.1:9/base/', s => s.segmind.baseUrl, 'http://127.0.0.1:9/base'],
  ['MAX_IMAGE_BYTES', '20971520', s => s.images.maxBytes, 20971520],
  ['MAX_IMAGE_BYTES', '20 MiB', s => s.images.maxBytes, 20971520],
  ['MAX_IMAGE_BYTES', '20MiB', s => s.images.maxBytes, 20971520],
  ['MAX_IMAGE_BYTES', '20mb', s => s.images.maxBytes, 20_000_000],
  ['MAX_IMAGE_BYTES', '100 KiB', s => s.images.maxBytes, 102_400],
  ['MAX_IMAGE_BYTES', '100kB', s => s.images.maxBytes, 100_000],
  ['MAX_IMAGE_BYTES', '512 B', s => s.images.maxBytes, 512],
  ['MEMORY_CACHE_BYTES', '1.5 GiB', s => s.cache.memoryBytes, 1.5 * 1024 ** 3],
  ['MEMORY_CACHE_BYTES', '256MB', s => s.cache.memoryBytes, 256_000_000],
  ['MEMORY_CACHE_BYTES', '0', s => s.cache.memoryBytes, 0],
  ['STORE_MAX_BYTES', '1 TiB', s => s.store.maxBytes, 1024 ** 4],
  ...['true', '1', 'yes', 'on', 'TRUE', 'Yes'].map(
    text => ['BASE64_DEFAULT', text, s => s.upload.base64Default, true] as (typeof ACCEPTED)[number],
  ),
  ...['false', '0', 'no', 'off', 'False', 'OFF'].map(
    text => ['IMAGE_URLS', text, s => s.images.urls, false] as (typeof ACCEPTED)[number],
  ),
  ['TRUST_PROXY', 'yes', s => s.server.trustProxy, true],
  ['TRUST_PROXY', '0', s => s.server.trustProxy, false],
  ['TRUST_PROXY', '2', s => s.server.trustProxy, 2],
  ['TRUST_PROXY', '10.0.0.0/8, fd00::/8,loopback', s => s.server.trustProxy, ['10.0.0.0/8', 'fd00::/8', 'loopback']],
  [
    'IMAGE_URL_HOSTS',
    'Img.example.com, .example.org,10.1.2.3,10.0.0.0/8,::1',
    s => s.images.urlHosts,
    ['img.example.com', '.example.org', '10.1.2.3', '10.0.0.0/8', '::1'],
  ],
  ['CACHE_SCOPE', 'TEAM', s => s.cache.scope, 'team'],
  ['BUDGET_FAIL', 'open', s => s.credits.budgetFail, 'open'],
  ['BUDGET_TIMEZONE', 'Europe/Berlin', s => s.credits.timeZone, 'Europe/Berlin'],
  ['PRICE_ESTIMATE_CREDITS', '1.7e-3', s => s.credits.priceEstimate, 1_700_000],
  ['RESERVE_CREDITS', '2.5', s => s.credits.reserve, 2_500_000_000],
  ['RESERVE_CREDITS', '0', s => s.credits.reserve, 0],
  ['LEDGER_RETENTION_DAYS', '0', s => s.credits.retentionDays, 0],
  ['LEDGER_RETENTION_DAYS', '93', s => s.credits.retentionDays, 93],
  ['CHARGEBACK', 'split', s => s.credits.chargeback, 'split'],
  ['IMAGE_ORIENTATION', 'ignored', s => s.images.orientation, 'ignored'],
  ['STRIP_METADATA', 'location', s => s.images.stripMetadata, 'location'],
  ['PIXEL_DIGEST', 'true', s => s.images.pixelDigest, true],
  [
    'ALERT_WEBHOOK_URL',
    'https://hooks.example.com/x?y=1',
    s => s.alerts.webhookUrl?.reveal(),
    'https://hooks.example.com/x?y=1',
  ],
  [
    'ALERT_WEBHOOK_SECRET',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    s => s.alerts.webhookSecret?.reveal(),
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  ],
  ['LOG_LEVEL', 'silent', s => s.log.level, 'silent'],
  ['LOG_FORMAT', 'pretty', s => s.log.format, 'pretty'],
  [
    'REDIS_URL',
    'rediss://:pw@redis.internal:6380/1',
    s => s.store.redisUrl?.reveal(),
    'rediss://:pw@redis.internal:6380/1',
  ],
  ['ADMIN_KEY', 'ops-0123456789abcdef', s => s.teams.adminKey?.reveal(), 'ops-0123456789abcdef'],
  ['DATA_DIR', '/var/lib/gateway', s => s.teams.file, '/var/lib/gateway/teams.yaml'],
  ['TEAMS_FILE', 'teams.yml', s => s.teams, { file: 'teams.yml', isDefaultFile: false, adminKey: undefined }],
]

t.test('accepted texts become typed values', async t => {
  for (const [name, text, pick, value] of ACCEPTED) {
    t.strictSame(pick(loadSettings({ [name]: text })), value, `${name}=${text}`)
  }
})

const REFUSED: [name: string, ...texts: string[]][] = [
  ['HOST', 'http://x', 'a b', '1.2.3.400'],
  ['PORT', 'http', '-1', '65536', '80.5', '0x50', '1e3'],
  ['METRICS_PORT', '70000'],
  ['CLIENT_TIMEOUT_MS', '0', '1s', '3600001'],
  ['SEGMIND_TIMEOUT_MS', '0'],
  ['SHUTDOWN_TIMEOUT_MS', '-1'],
  ['SEGMIND_MAX_CONCURRENCY', '0'],
  ['QUEUE_MAX', '-1'],
  [
    'SEGMIND_BASE_URL',
    'segmind',
    'ftp://segmind',
    'https://user:pw@segmind',
    'https://segmind/?key=1',
    'https://segmind/#a',
  ],
  ['SEGMIND_API_KEY', 'two words', 'line\nbreak', 'schlüssel'],
  ['REDIS_URL', 'http://redis', 'redis', 'redis://'],
  ['STORE_MAX_BYTES', '1 KiB', '2 TiB', 'lots'],
  ['MAX_IMAGE_BYTES', '0', '20M', '20 MiBs', '-1', '1 GiB'],
  ['CACHE_TTL_SECONDS', '0'],
  ['CACHE_SCOPE', 'everybody'],
  ['MAX_IMAGE_PIXELS', '0', '50MP'],
  ['IMAGE_URLS', 'maybe', '2', 'constructor'],
  ['IMAGE_URL_HOSTS', 'https://img.example.com', 'a,,b', '10.0.0.0/33', '*.example.com', '1.2.3'],
  ['PRICE_ESTIMATE_CREDITS', '0', '-0.1', '1001', 'free'],
  ['BUDGET_TIMEZONE', 'Mars/Olympus', '+01:00', '1'],
  ['BUDGET_FAIL', 'ajar'],
  ['RESERVE_CREDITS', '-1', 'some', '1000001'],
  ['LEDGER_RETENTION_DAYS', '92'],
  ['LEDGER_RETENTION_DAYS', '-1'],
  ['CHARGEBACK', 'unknown'],
  ['ALERT_WEBHOOK_URL', 'hooks', 'ftp://hooks.example.com'],
  ['ALERT_WEBHOOK_SECRET', 'secret', 'whsec_', 'whsec_c2hvcnQ=', 'whsec_not*base64*not*base64*not*base64*not'],
  ['SANDBOX', 'perhaps'],
  ['LOG_LEVEL', 'loud'],
  ['LOG_FORMAT', 'text'],
  ['TRUST_PROXY', 'everyone', '10.0.0.0/8/8', 'fd00::/129', '1000'],
]

t.test('any other text is one problem with the name and the accepted form, without the value', async t => {
  for (const [name, ...texts] of REFUSED) {
    for (const text of texts) {
      const problems = problemsOf({ [name]: text })
      t.equal(problems.length, 1, `${name}=${text}`)
      const form = Object.values(SETTINGS)
        .flatMap(slice => Object.values(slice))
        .find(setting => setting.name === name)?.form.accepts
      t.equal(problems[0], `${name}: ${form}`)
    }
  }
})

t.test('one message reports all problems, including those between settings', async t => {
  const env = {
    NODE_ENV: 'production',
    PORT: '8123',
    METRICS_PORT: '8123',
    REDIS_URL: 'http://hunter2@redis',
    LOG_LEVEL: 'hunter2',
    WORKERS: '4',
    UPLOAD_MEMORY_BYTES: '1 KiB',
  }
  t.strictSame(
    namesOf(env).sort(),
    [
      'LOG_LEVEL',
      'METRICS_PORT',
      'REDIS_URL',
      'SEGMIND_API_KEY',
      'TEAMS_FILE',
      'UPLOAD_MEMORY_BYTES',
      'WORKERS',
    ].sort(),
  )
  t.throws(() => loadSettings(env), { name: 'SettingsError', message: /LOG_LEVEL: .*\n.*WORKERS: / })
  t.notMatch(problemsOf(env).join(), 'hunter2')
  t.notMatch(messageOf(env), 'hunter2')
})

t.test('production requires a key and a teams file, unless the sandbox is selected', async t => {
  t.strictSame(namesOf({ NODE_ENV: 'production' }), ['SEGMIND_API_KEY', 'TEAMS_FILE'])
  t.strictSame(namesOf({ ...PRODUCTION, TEAMS_FILE: '' }), ['TEAMS_FILE'])
  t.match(loadSettings(PRODUCTION), { production: true, sandbox: false, teams: { isDefaultFile: false } })
  t.match(loadSettings({ NODE_ENV: 'production', SANDBOX: 'true' }), { production: true, sandbox: true })
})

t.test('without a key and without SANDBOX, a separate sandbox is the upstream, in production too', async t => {
  const apart = { NODE_ENV: 'production', TEAMS_FILE: '/etc/gateway/teams.yaml', SANDBOX_URL: 'http://sandbox:9000/' }
  const { sandbox, sandboxUrl, warnings } = loadSettings({ ...apart, SEGMIND_API_KEY: '' })
  t.match({ sandbox, sandboxUrl }, { sandbox: true, sandboxUrl: 'http://sandbox:9000' })
  t.match(warnings, ['SEGMIND_API_KEY is not set, so the upstream is the sandbox at SANDBOX_URL'])
  const withKey = loadSettings({ ...PRODUCTION, ...apart })
  t.match(withKey, { sandbox: false, sandboxUrl: undefined })
  t.strictSame(withKey.warnings, [])
  const builtIn = loadSettings({ ...apart, SANDBOX: 'true' })
  t.match(builtIn, { sandbox: true, sandboxUrl: undefined })
  t.strictSame(builtIn.warnings, [])
  t.strictSame(namesOf({ ...apart, SANDBOX: 'false' }), ['SEGMIND_API_KEY'])
  t.strictSame(namesOf({ ...apart, SANDBOX_URL: 'sandbox:9000' }), ['SANDBOX_URL'])
})

t.test('the sandbox is the upstream if selected, or outside production without a key', async t => {
  const key = { SEGMIND_API_KEY: 'SG_0123456789abcdef' }
  t.equal(loadSettings({ SANDBOX: 'true' }).sandbox, true)
  t.equal(loadSettings({}).sandbox, true)
  t.equal(loadSettings({ NODE_ENV: 'test' }).sandbox, true)
  t.equal(loadSettings(key).sandbox, false)
  t.equal(loadSettings({ ...key, SANDBOX: 'false' }).sandbox, false)
  t.strictSame(namesOf({ ...key, SANDBOX: 'true' }), ['SANDBOX'], 'a key that would not be used is a mistake')
  t.strictSame(namesOf({ SANDBOX: 'false' }), ['SEGMIND_API_KEY'], 'a sandbox that is refused is not started')
})

t.test('settings of later versions are rejected unless they have their default value', async t => {
  const refused: [string, string][] = [
    ['REDIS_CLUSTER', 'a:1,b:2'],
    ['REDIS_SENTINELS', 'a:1'],
    ['REDIS_MASTER_NAME', 'main'],
    ['WORKERS', '2'],
    ['WORKERS', 'many'],
  ]
  for (const [name, text] of refused) {
    t.match(problemsOf({ [name]: text }), [new RegExp(`^${name}: .*not supported by this version$`)], `${name}=${text}`)
  }
  const defaults = {
    RESERVE_CREDITS: '0.0',
    CHARGEBACK: 'first-payer',
    RESULT_URL_TTL: '3600',
    ALLOW_NO_SELECTION: '0',
    WORKERS: '1',
    ALERT_WEBHOOK_URL: '',
  }
  t.strictSame(loadSettings(defaults), DEFAULTS)
})

t.test('a secret can be read from a file, without its line break', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'settings-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'secret')
  writeFileSync(file, 'redis://:hunter2@redis\n')
  writeFileSync(join(folder, 'empty'), '\n')
  const { store, warnings } = loadSettings({ REDIS_URL_FILE: file })
  t.equal(store.redisUrl?.reveal(), 'redis://:hunter2@redis')
  t.strictSame(warnings, [])
  t.strictSame(namesOf({ REDIS_URL_FILE: file, REDIS_URL: 'redis://other' }), ['REDIS_URL'])
  t.strictSame(problemsOf({ ADMIN_KEY_FILE: file.replace('secret', 'none') }), [
    'ADMIN_KEY_FILE: the path of a readable file that is not empty',
  ])
  t.strictSame(namesOf({ ADMIN_KEY_FILE: folder }), ['ADMIN_KEY_FILE'])
  t.strictSame(namesOf({ ADMIN_KEY_FILE: join(folder, 'empty') }), ['ADMIN_KEY_FILE'])
  t.strictSame(namesOf({ SEGMIND_API_KEY_FILE: file, SEGMIND_API_KEY: 'SG_0123456789abcdef' }), ['SEGMIND_API_KEY'])
  t.strictSame(namesOf({ ...PRODUCTION, SEGMIND_API_KEY: '', SEGMIND_API_KEY_FILE: '/none' }), ['SEGMIND_API_KEY_FILE'])
})

t.test('settings can be logged: only reveal() shows a secret', async t => {
  const settings = loadSettings({
    SEGMIND_API_KEY: 'hunter2hunter2hunter2',
    REDIS_URL: 'redis://:hunter2@r',
    ADMIN_KEY: 'hunter2',
  })
  const { apiKey } = settings.segmind
  for (const shown of [
    JSON.stringify(settings),
    inspect(settings, { depth: 9, showHidden: true }),
    `${apiKey}`,
    String(apiKey),
  ]) {
    t.notMatch(shown, 'hunter2')
    t.match(shown, '[secret]')
  }
  t.equal(apiKey?.reveal(), 'hunter2hunter2hunter2')
})

t.test('a likely mistake is a warning without values', async t => {
  const warned: [env: Record<string, string>, ...warnings: RegExp[]][] = [
    [{ SEGMIND_APIKEY: 'v4lue' }, /^SEGMIND_APIKEY is not a setting; did you mean SEGMIND_API_KEY\?$/],
    [{ LOGLEVEL: 'v4lue' }, /LOG_LEVEL\?$/],
    [{ REDIS_URI: 'v4lue' }, /REDIS_URL\?$/],
    [{ MAX_IMAGE_BYTE: 'v4lue' }, /MAX_IMAGE_BYTES\?$/],
    [{ segmind_api_key: 'v4lue' }, /SEGMIND_API_KEY\?$/],
    [{ DATA_DIR_FILE: 'v4lue' }, /only secrets can be read from a file/],
    [{ SEGMIND_KEY: 'v4lue' }, /^SEGMIND_KEY is not a setting$/],
    [{ ADMIN_KEY: 'v4lue' }, /^ADMIN_KEY is shorter than 16/],
    [{ SEGMIND_BASE_URL: 'http://v4lue' }, /^SEGMIND_BASE_URL is ignored/],
    [{ SHUTDOWN_TIMEOUT_MS: '1000' }, /can cut off paid calls/],
    [{ SHUTDOWN_DELAY_MS: '10001' }, /can cut off paid calls/],
  ]
  for (const [env, ...warnings] of warned) {
    const found = loadSettings(env).warnings
    t.match(found, warnings, Object.keys(env).join())
    t.equal(found.length, warnings.length)
    t.notMatch(found.join(), 'v4lue')
  }
  const ordinary = {
    HOME: 'x',
    HOSTNAME: 'x',
    PATH: 'x',
    POST: 'x',
    SORT: 'x',
    PWD: 'x',
    REDIS_PORT: 'tcp://x',
    SEGMIND_GATEWAY_PORT: 'tcp://x',
    SEGMIND_GATEWAY_SERVICE_HOST: 'x',
    XDG_DATA_DIRS: 'x',
  }
  t.strictSame(loadSettings(ordinary).warnings, [], 'variables of systems, shells and Kubernetes cause no warning')
})

t.test('a command can load the slices it needs, without a key in production', async t => {
  const env = { NODE_ENV: 'production', DATA_DIR: '/srv', PORT: 'x' }
  t.strictSame(teamsFile(loadSlices(env, ['teams', 'store'])), { file: '/srv/teams.yaml', isDefaultFile: true })
  t.throws(() => loadSlices(env, ['server']), {
    name: 'SettingsError',
    message: /PORT: a whole number from 0 to 65535/,
  })
})

t.test('.env.example matches the table', async t => {
  t.equal(
    readFileSync('.env.example', 'utf8'),
    envExample(),
    'regenerate it: node --input-type=module -e "import {envExample} from \'./dist/config/index.js\'; process.stdout.write(envExample())" > .env.example',
  )
})

t.test('.env.example and the Markdown table name every setting once', async t => {
  const example = envExample().split('\n')
  const rows = settingsMarkdown().split('\n')
  for (const { name } of Object.values(SETTINGS).flatMap(slice => Object.values(slice))) {
    t.equal(example.filter(line => line.startsWith(`#${name}=`)).length, 1, name)
    t.equal(rows.filter(row => row.startsWith(`| \`${name}\` `)).length, 1, name)
  }
})

t.test('the defaults in .env.example are accepted', async t => {
  const lines = envExample()
    .split('\n')
    .filter(line => /^#[A-Z_]+=/.test(line))
  t.strictSame(
    loadSettings(Object.fromEntries(lines.map(line => line.slice(1).split('=') as [string, string]))),
    DEFAULTS,
  )
})
