import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { within } from '../eventually.js'
import { freePort } from './free-port.js'
import { type GuardedProcess, guard, spawnGuarded } from './guardian.js'

export interface RedisServer {
  url: string
  port: number
  /** Process id. It changes when the server is started again. */
  readonly pid: number
  /** Kills the server. Its data is lost unless it was started with `appendonly`. */
  stop(): Promise<void>
  /** Starts it again on the same port. */
  start(): Promise<void>
  /** Stops the process with SIGSTOP: its connections stay open, and it does not answer. */
  freeze(): void
  thaw(): void
  /** Removes every key. */
  flush(): Promise<void>
  /** Stops the server and removes its folder. */
  close(): Promise<void>
}

/**
 * Starts a redis-server on a free port, with its own folder. Gateways trust its leases at once,
 * unless it `isNew`. The server and its folder do not outlive the test process.
 */
export async function startRedis(options: { appendonly?: boolean; isNew?: boolean } = {}): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-redis-'))
  const guardian = guard(dir)
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const launch = () => launchRedis(dir, port, ['--appendonly', options.appendonly ? 'yes' : 'no'])
  let running = await launch()
  if (!options.isNew) await trustLeases(url)
  return {
    url,
    port,
    get pid() {
      return running.child.pid as number
    },
    async stop() {
      await running.end('SIGKILL')
    },
    async start() {
      running = await launch()
    },
    freeze: () => void running.child.kill('SIGSTOP'),
    thaw: () => void running.child.kill('SIGCONT'),
    async flush() {
      await withClient(url, client => client.flushall())
      if (!options.isNew) await trustLeases(url)
    },
    async close() {
      await running.end('SIGKILL')
      await guardian.clean()
    },
  }
}

/** Starts a redis-server without snapshots over `dir`, and waits until it accepts connections. */
export async function launchRedis(dir: string, port: number, args: string[]): Promise<GuardedProcess> {
  const settings = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir, '--save', '', ...args]
  const running = await spawnGuarded(await findBinary(), settings, { stdio: ['ignore', 'pipe', 'inherit'] })
  const output: string[] = []
  const ready = new Promise<void>((resolve, reject) => {
    createInterface({ input: running.child.stdout as NodeJS.ReadableStream }).on('line', line => {
      output.push(line)
      if (/ready to accept connections/i.test(line)) resolve()
    })
    void running.exited.then(code =>
      reject(new Error(`redis-server ended with ${code}: ${output.slice(-5).join('\n')}`)),
    )
  })
  await within('redis-server never accepted connections', ready)
  return running
}

/**
 * Marks the server as known: gateways wait for some seconds before they trust the leases of a new
 * one.
 */
export async function trustLeases(url: string): Promise<void> {
  await withClient(url, client => client.set('{segmind-gateway:flights}:since', '0'))
}

/** Runs `work` with a connection of its own. */
export async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url)
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}

async function findBinary(): Promise<string> {
  const script = pathToFileURL(resolve('test/support/programs/obtain-redis.mjs')).href
  const { findRedisServer } = (await import(script)) as { findRedisServer(): string | undefined }
  const found = findRedisServer()
  if (!found)
    throw new Error('there is no redis-server: run `node .tools/prepare.mjs --tests` first, as `npm test` does')
  return found
}
