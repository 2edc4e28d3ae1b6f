import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { fakeMask } from '../test/support/doubles/fake-mask.js'
import { writeTeamsFile } from '../test/support/gateway/teams-file.js'
import { startRedis } from '../test/support/programs/redis-server.js'
import type { LoadJob, LoadReport } from './load.js'
import { LOAD_CPU, nginx, peer, pinned, startNode, type Target, usageOf, varnish } from './targets.js'

/**
 * Compares the processor time of a request with that of other servers, in interleaved rounds:
 * `npm run bench -- [--rounds 7] [--seconds 2] [--only TEXT] [--node PATH …] [--json FILE]`.
 * Linux only (`/proc`).
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
    node: { type: 'string', multiple: true },
    json: { type: 'string' },
  },
})
const ROUNDS = Number(values.rounds)
const SECONDS = Number(values.seconds)
const PHOTO = { width: 640, height: 480 }
const KILOBYTE = 1_000
const NODE_24 = '.build-node24/bin/node'
const nodes = values.node ?? [process.execPath, ...(existsSync(NODE_24) ? [NODE_24] : [])]

interface Case {
  name: string
  /** The first target is the base of the ratios. */
  targets: (Target | undefined)[]
  body: Body
  connections: number
  isUnique?: boolean
}

interface Body {
  head: string
  content: Buffer
}

interface Row {
  target: string
  /** Microseconds of processor time per request. */
  cpu: number[]
  ratios: number[]
  p50: number
  p99: number
  requests: number
  residentBytes: number
  faults: number
  load: number
}

const dir = await mkdtemp(join(tmpdir(), 'bench-'))
const redis = await startRedis()
const { file: teamsFile, keys } = await writeTeamsFile(dir, { bench: { limits: { requests_per_minute: 1_000_000 } } })
const picture = fakeMask(PHOTO).toString('base64')
const report: Record<string, Row[]> = {}
try {
  for (const node of nodes) await measureWith(node)
} finally {
  await redis.close()
  await rm(dir, { recursive: true, force: true })
}
if (values.json) await writeFile(values.json, JSON.stringify(report, null, 1))
process.exit()

async function measureWith(node: string): Promise<void> {
  const upstream = await peer('upstream', 'upstream', node, '', picture)
  const upstreamUrl = `http://127.0.0.1:${upstream.port}`
  const own = (mode: string, name = mode) => peer(name, mode, node, upstreamUrl, picture)
  const gateway = (name: string, env: Record<string, string>) => startGateway(node, name, { ...env, upstreamUrl })
  const [bare, hash, byId, plain, forward] = await Promise.all([
    own('bare'),
    own('sha256', 'bare + SHA-256'),
    own('fastify', 'bare Fastify'),
    own('plain', 'plain cache'),
    own('pass', 'plain forwarder'),
  ])
  const memory = await gateway('gateway', {})
  const embedded = await gateway('gateway, embedded store', { MEMORY_CACHE_BYTES: '0' })
  const shared = await gateway('gateway, Redis', { MEMORY_CACHE_BYTES: '0', REDIS_URL: redis.url })
  const inRedis = await gateway('gateway, memory before Redis', { REDIS_URL: redis.url })
  const [web, cache] = [await nginx(dir, upstream.port), await varnish(dir, upstream.port)]
  const peers = [hash, bare, plain, web, cache]
  const small = await upload(200)
  const cases: Case[] = [
    ...[50, 200, 2_000, 10_000].map(size => ({ name: `hit, ${size} KB`, targets: [...peers, memory], size })),
    { name: 'hit, 200 KB, by tier', targets: [memory, embedded, shared, inRedis], size: 200 },
  ].map(({ size, ...rest }) => ({ ...rest, body: small, size, connections: 16 }))
  for (const each of cases as (Case & { size: number })[]) each.body = await upload(each.size)
  for (const connections of [1, 64, 256])
    cases.push({ name: `hit, 200 KB, ${connections} connections`, targets: [hash, memory], body: small, connections })
  const id = jsonRequest({ image: await remembered(memory, small), prompt: 'dog' })
  cases.push({ name: 'hit by id', targets: [byId, memory], body: id, connections: 16 })
  cases.push({
    name: 'miss, 200 KB',
    targets: [forward, memory, inRedis],
    body: small,
    connections: 16,
    isUnique: true,
  })
  for (const each of cases) {
    const name = `Node ${await versionOf(node)}, ${each.name}`
    if (name.includes(values.only)) report[name] = await compare(name, each)
  }
}

async function startGateway(
  node: string,
  name: string,
  { upstreamUrl = '', ...env }: Record<string, string>,
): Promise<Target> {
  const dataDir = await mkdtemp(join(dir, 'data-'))
  const program = fileURLToPath(new URL('../src/main.js', import.meta.url))
  return startNode(name, [node, program, 'serve'], {
    env: {
      HOST: '127.0.0.1',
      PORT: '0',
      METRICS_PORT: '0',
      NODE_ENV: 'production',
      DATA_DIR: dataDir,
      TEAMS_FILE: teamsFile,
      SEGMIND_API_KEY: 'sg_bench',
      SEGMIND_BASE_URL: upstreamUrl,
      SEGMIND_MAX_CONCURRENCY: '64',
      ...env,
    },
  })
}

/** Measures each target in turn, round by round, and prints one table. */
async function compare(name: string, { targets, body, connections, isUnique = false }: Case): Promise<Row[]> {
  const file = join(dir, 'request')
  await writeFile(file, Buffer.concat([Buffer.from(body.head), body.content]))
  const known = targets.filter(target => target !== undefined)
  const rows = known.map(
    ({ name }): Row => ({
      target: name,
      ...{ cpu: [], ratios: [], p50: 0, p99: 0, requests: 0, residentBytes: 0, faults: 0, load: 0 },
    }),
  )
  let first = Date.now() * 1000
  for (let round = -1; round < ROUNDS; round++)
    for (const [index, target] of known.entries()) {
      const uniqueAt = isUnique ? body.head.length + body.content.lastIndexOf('\r\n--b--') - 8 : undefined
      const job: LoadJob = {
        port: target.port,
        connections,
        seconds: SECONDS,
        file,
        ...(uniqueAt && { uniqueAt, first }),
      }
      first += 10_000_000
      const before = usageOf(target.pid)
      const loaded = await drive(job)
      const after = usageOf(target.pid)
      const row = rows[index]
      if (round < 0 || !row) continue
      row.cpu.push(((after.cpuSeconds - before.cpuSeconds) / loaded.requests) * 1e6)
      row.faults = (after.minorFaults - before.minorFaults) / loaded.requests
      row.residentBytes = Math.max(row.residentBytes, after.residentBytes)
      row.requests += loaded.requests
      row.load = Math.max(row.load, loaded.load)
      row.p50 += loaded.p50 / ROUNDS
      row.p99 += loaded.p99 / ROUNDS
    }
  for (const row of rows) row.ratios = row.cpu.map((cpu, round) => cpu / (rows[0]?.cpu[round] ?? cpu))
  print(name, rows)
  return rows
}

async function drive(job: LoadJob): Promise<LoadReport> {
  const program = fileURLToPath(new URL('./load.js', import.meta.url))
  const child = pinned(LOAD_CPU, [process.execPath, program, JSON.stringify(job)])
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) return JSON.parse(line)
  throw new Error('the load failed')
}

function print(name: string, rows: readonly Row[]): void {
  console.log(`\n### ${name}\n`)
  console.log('| server | CPU, µs | ratio | quartiles | best rounds | p50, ms | p99, ms | MiB | minor faults | load |')
  console.log('|---|---|---|---|---|---|---|---|---|---|')
  const best = Math.min(...(rows[0]?.cpu ?? []))
  for (const { target, cpu, ratios, p50, p99, residentBytes, faults, load } of rows) {
    const cells = [
      target,
      quantile(cpu, 0.5).toFixed(0),
      quantile(ratios, 0.5).toFixed(2),
      `${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`,
      (Math.min(...cpu) / best).toFixed(2),
      p50.toFixed(1),
      p99.toFixed(1),
      (residentBytes / 2 ** 20).toFixed(0),
      faults.toFixed(0),
      `${(load * 100).toFixed(0)} %`,
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** A multipart upload of a JPEG, with bytes behind the picture up to the wanted size. */
async function upload(kilobytes: number): Promise<Body> {
  const jpeg = await sharp({ create: { ...PHOTO, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer()
  const photo = Buffer.concat([jpeg, Buffer.alloc(kilobytes * KILOBYTE - jpeg.length)])
  const content = Buffer.concat([
    Buffer.from('--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\ndog\r\n--b\r\n'),
    Buffer.from('content-disposition: form-data; name="image"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n'),
    photo,
    Buffer.from('\r\n--b--\r\n'),
  ])
  return request('multipart/form-data; boundary=b', content)
}

function jsonRequest(body: unknown): Body {
  return request('application/json', Buffer.from(JSON.stringify(body)))
}

function request(type: string, content: Buffer): Body {
  const lines = ['POST /segment HTTP/1.1', 'host: 127.0.0.1', `x-api-key: ${keys.bench}`, `content-type: ${type}`]
  return { head: `${[...lines, `content-length: ${content.length}`].join('\r\n')}\r\n\r\n`, content }
}

/** Sends a photo once, and returns the id by which the gateway knows it. */
async function remembered({ port }: Target, { content }: Body): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/segment`, {
    method: 'POST',
    headers: { 'x-api-key': keys.bench, 'content-type': 'multipart/form-data; boundary=b' },
    body: new Uint8Array(content),
  })
  const id = response.headers.get('x-image-id')
  if (id === null) throw new Error(await response.text())
  await response.arrayBuffer()
  return id
}

async function versionOf(node: string): Promise<string> {
  const child = pinned(LOAD_CPU, [node, '--version'])
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream }))
    return line.replace(/^v(\d+).*/, '$1')
  return node
}
