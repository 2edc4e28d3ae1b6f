import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { SANDBOX_KEY } from '../src/cli/upstream.js'
import { bytes } from '../src/config/forms.js'
import { SETTINGS } from '../src/config/index.js'

interface Service {
  image: string
  profiles?: string[]
  command?: string[]
  healthcheck?: object
  read_only?: boolean
  cap_drop?: string[]
  ports?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  stop_grace_period?: string
  mem_limit?: string
}

const compose = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }) as {
  services: Record<
    'gateway' | 'sandbox' | 'redis' | 'redis-exporter' | 'prometheus' | 'grafana' | 'alertmanager',
    Service
  >
}
const { gateway, sandbox } = compose.services
const dockerfile = readFileSync('Dockerfile', 'utf8')
const redisConf = new Map(
  readFileSync('docker/redis.conf', 'utf8')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const),
)

t.test('only the API is published beyond this machine', async t => {
  const { gateway, ...others } = compose.services
  t.strictSame(gateway.ports, [`\${PORT:-8080}:${SETTINGS.server.port.default}`])
  const published = Object.entries(others).flatMap(([name, { ports = [] }]) => ports.map(port => ({ name, port })))
  t.strictSame(
    published.map(({ name }) => name),
    ['prometheus', 'grafana', 'alertmanager'],
  )
  for (const { name, port } of published) t.match(port, /^127\.0\.0\.1:/, name)
})

t.test('optional services are behind a profile', async t => {
  const profiles = Object.entries(compose.services).flatMap(([name, { profiles }]) =>
    profiles ? [[name, profiles]] : [],
  )
  t.strictSame(Object.fromEntries(profiles), { sandbox: ['sandbox'], alertmanager: ['alerting'] })
})

t.test('a gateway without a key uses the sandbox of the profile, with its key', async t => {
  const at = (option: string) => sandbox.command?.[sandbox.command.indexOf(option) + 1]
  t.equal(gateway.environment?.SANDBOX_URL, `http://sandbox:${at('--port')}`)
  t.equal(at('--key'), SANDBOX_KEY)
})

t.test('.env.example has every variable that compose reads', async t => {
  const example = readFileSync('.env.example', 'utf8')
  const read = new Set(
    [...readFileSync('docker-compose.yml', 'utf8').matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name),
  )
  t.ok(read.has('GRAFANA_PASSWORD'))
  for (const name of read) t.match(example, new RegExp(`^#${name}=`, 'm'), `${name}`)
})

t.test('every mounted file is in the repository', async t => {
  const mounts = Object.values(compose.services).flatMap(({ volumes = [] }) => volumes)
  const files = mounts.filter(volume => volume.startsWith('./')).map(volume => volume.slice(0, volume.indexOf(':')))
  t.ok(files.length >= 6)
  for (const file of files) t.ok(existsSync(file), file)
})

t.test('third-party images are pinned and have health checks', async t => {
  for (const [name, { image, healthcheck }] of Object.entries(compose.services)) {
    if (image.startsWith('segmind-gateway')) continue
    t.match(image, /^[\w./-]+:v?\d[\w.-]*$/, name)
    // The exporter's image has nothing that could ask.
    if (name !== 'redis-exporter') t.ok(healthcheck, name)
  }
})

t.test('the stop grace period exceeds the shutdown timeout', async t => {
  t.ok(Number.parseInt(gateway.stop_grace_period ?? '', 10) * 1000 > Number(SETTINGS.server.shutdownTimeoutMs.default))
  t.match(gateway.stop_grace_period, /^\d+s$/)
})

t.test(
  'load balancers give up idle connections, and gateways that are not ready, within the shutdown delay',
  async t => {
    const delayMs = Number(/SHUTDOWN_DELAY_MS=(\d+)/.exec(dockerfile)?.[1])
    const nginx = readFileSync('docker/nginx.conf', 'utf8')
    const [, idle] = /keepalive 64;[^}]*keepalive_timeout (\d+)s;/.exec(nginx) ?? []
    t.ok(Number(idle) * 1000 < delayMs)
    t.notMatch(nginx, /^ *proxy_next_upstream .*non_idempotent/m)
    const haproxy = readFileSync('docker/haproxy.cfg', 'utf8')
    const [, inter, fall] = /check inter (\d+)s fall (\d+)/.exec(haproxy) ?? []
    t.ok(Number(inter) * Number(fall) * 1000 < delayMs)
    t.match(haproxy, /^ +retry-on conn-failure$/m)
  },
)

t.test('every container has a memory limit that its caches fit in', async t => {
  const sizeOf = (text = '') => bytes(1, 1e15).read(text) ?? 0
  for (const [name, { mem_limit }] of Object.entries(compose.services)) t.ok(sizeOf(`${mem_limit}b`) > 0, name)
  const { upload, cache } = SETTINGS
  const needed = sizeOf(upload.memoryBytes.default) + sizeOf(cache.memoryBytes.default) + 250e6
  t.ok(sizeOf(`${gateway.mem_limit}b`) > needed)
  t.ok(sizeOf(`${compose.services.redis.mem_limit}b`) >= 1.5 * sizeOf(redisConf.get('maxmemory')))
})

t.test('every container runs unprivileged on a read-only file system', async t => {
  for (const service of Object.values(compose.services)) t.match(service, { read_only: true, cap_drop: ['ALL'] })
  t.match(dockerfile, /^USER node$/m)
})

t.test('the gateway writes to a mounted volume', async t => {
  const mounted = gateway.volumes?.map(volume => volume.slice(volume.lastIndexOf(':') + 1))
  t.strictSame(mounted, ['/data', '/teams'])
  t.equal(gateway.environment?.DATA_DIR, '/data')
  t.match(gateway.environment?.TEAMS_FILE, /^\/teams\//)
  t.match(dockerfile, /^VOLUME \["\/data", "\/teams"\]$/m)
})

t.test('Redis evicts only keys with an expiry, and keeps an append-only file', async t => {
  t.equal(redisConf.get('maxmemory-policy'), 'volatile-lru')
  t.equal(redisConf.get('appendonly'), 'yes')
  t.match(redisConf.get('maxmemory'), /^\d+[mg]b$/)
})

t.test(
  'Prometheus looks where the gateway and the Redis exporter expose their metrics, at each replica by itself',
  async t => {
    const port = Number(SETTINGS.server.metricsPort.default)
    const { scrape_configs, alerting } = parse(readFileSync('docker/prometheus/prometheus.yml', 'utf8'))
    t.match(scrape_configs, [
      { job_name: 'segmind-gateway', dns_sd_configs: [{ names: ['gateway'], type: 'A', port }] },
      { job_name: 'redis', static_configs: [{ targets: ['redis-exporter:9121'] }] },
    ])
    t.equal(gateway.environment?.METRICS_PORT, String(port))
    t.equal(gateway.environment?.METRICS_HOST, '0.0.0.0')
    t.match(dockerfile, /^ +METRICS_HOST=0\.0\.0\.0 /m)
    t.match(alerting.alertmanagers, [{ dns_sd_configs: [{ names: ['alertmanager'], type: 'A', port: 9093 }] }])
    for (const name of ['gateway', 'redis-exporter', 'alertmanager']) t.ok(name in compose.services, name)
  },
)

t.test('every source of the image is part of the build context', async t => {
  const letIn = readFileSync('.dockerignore', 'utf8').split('\n')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names = '']) => names.split(' '))
  t.ok(copied.includes('openapi.yaml'))
  for (const name of copied) {
    t.ok(existsSync(name), name)
    t.ok(letIn.includes(`!${name}`), `${name} is let in by .dockerignore`)
  }
})
