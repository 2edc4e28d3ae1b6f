import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fakeMask } from '../test/support/doubles/fake-mask.js'
import { type Body, json, PHOTO, upload, withDigest, withoutBody } from './bodies.js'
import { nginx, peer, startNode, type Target, varnish } from './targets.js'

/** One table: what the targets are asked, and by how many connections. */
export interface Case {
  name: string
  /** The first target is the base of the ratios. One with a body of its own gets that. */
  targets: (Target & { body?: Body })[]
  body: Body
  connections: number
  /** `own`: every request has another image. `shared`: all connections send the same images. */
  unique?: 'own' | 'shared'
}

export interface CasesOptions {
  node: string
  /** For files of the servers. */
  dir: string
  redisUrl: string
  teamsFile: string
  key: string
}

const SIZES = [50, 200, 2_000, 10_000]
const SELECTIONS = 20

/** Starts the servers on one Node.js, and lists the cases. */
export async function startCases(options: CasesOptions): Promise<Case[]> {
  const { node, dir, redisUrl, key } = options
  const picture = fakeMask(PHOTO).toString('base64')
  const upstream = await peer('upstream', 'upstream', node, '', picture)
  const upstreamUrl = `http://127.0.0.1:${upstream.port}`
  const own = (mode: string, name = mode) => peer(name, mode, node, upstreamUrl, picture)
  const gateway = (name: string, env: Record<string, string>) => startGateway(name, { ...env, upstreamUrl }, options)
  const bare = await own('bare')
  const hash = await own('sha256', 'bare + SHA-256')
  const byId = await own('fastify', 'bare Fastify')
  const plain = await own('plain', 'plain cache')
  const forward = await own('pass', 'plain forwarder')
  const prototype = await own('prototype')
  const memory = await gateway('gateway', {})
  const beforeRedis = await gateway('gateway, memory before Redis', { REDIS_URL: redisUrl })
  const embedded = await gateway('gateway, embedded store', { MEMORY_CACHE_BYTES: '0' })
  const inRedis = await gateway('gateway, Redis', { MEMORY_CACHE_BYTES: '0', REDIS_URL: redisUrl })
  const caches = [await nginx(dir, upstream.port), await varnish(dir, upstream.port)].flatMap(each => each ?? [])

  const small = await upload(200, key)
  const large = await upload(2_000, key)
  const [image] = await Promise.all([memory, beforeRedis].map(target => imageIdOf(target, small)))
  await send(memory, withDigest(large))
  const id = json('/segment', key, { image, prompt: 'dog' })
  const selections = Array.from({ length: SELECTIONS }, (_, x) => ({ coordinates: [[x, 10]] }))
  const batch = json('/segment/batch', key, { image, selections })
  await send(memory, batch)

  const bySize = await Promise.all(SIZES.map(async size => ({ size, body: await upload(size, key) })))
  return [
    ...bySize.map(({ size, body }) => ({
      name: `hit, ${size} KB`,
      targets: [hash, bare, plain, ...caches, memory],
      body,
      connections: 16,
    })),
    ...[1, 64, 256].map(connections => ({
      name: `hit, 200 KB, ${connections} connections`,
      targets: [hash, memory],
      body: small,
      connections,
    })),
    {
      name: 'hit, 200 KB, by tier',
      targets: [memory, beforeRedis, embedded, inRedis],
      body: small,
      connections: 16,
    },
    { name: 'hit by id', targets: [byId, memory, beforeRedis], body: id, connections: 16 },
    {
      name: 'hit by digest, 2 MB, without the body',
      targets: [memory, { ...memory, name: 'gateway, head only', body: withoutBody(large) }],
      body: large,
      connections: 16,
    },
    {
      name: `batch of ${SELECTIONS} hits`,
      targets: [{ ...byId, body: id }, { ...memory, name: 'gateway, by id', body: id }, memory],
      body: batch,
      connections: 4,
    },
    {
      name: 'miss, 200 KB',
      targets: [prototype, forward, memory, beforeRedis],
      body: small,
      connections: 16,
      unique: 'own',
    },
    {
      name: 'coalesced, 200 KB',
      targets: [hash, memory, beforeRedis],
      body: small,
      connections: 16,
      unique: 'shared',
    },
  ]
}

async function startGateway(
  name: string,
  { upstreamUrl = '', ...env }: Record<string, string>,
  { node, dir, teamsFile }: CasesOptions,
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

/** Sends an upload once, and returns the id by which the gateway knows its image. */
async function imageIdOf(target: Target, body: Body): Promise<string | undefined> {
  return /^x-image-id: *(\S+)/im.exec(await send(target, body))?.[1]
}

/** Sends a request once. Returns the head of the response. Throws for anything but 200. */
function send({ port }: Target, { head, content }: Body): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const closing = head.replace('\r\n', '\r\nconnection: close\r\n')
  socket.write(Buffer.concat([Buffer.from(closing), content]))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    socket.on('data', chunk => chunks.push(chunk)).once('error', reject)
    socket.once('end', () => {
      const [answer = ''] = Buffer.concat(chunks).toString('latin1').split('\r\n\r\n')
      socket.destroy()
      if (answer.startsWith('HTTP/1.1 200')) resolve(answer)
      else reject(new Error(answer))
    })
  })
}
