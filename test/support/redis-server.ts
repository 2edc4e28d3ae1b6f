import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { freePort } from './free-port.js'

export interface RedisServer {
  url: string
  port: number
  /** Of the process that runs now; it changes when the server is started again. */
  readonly pid: number
  /** Kills it the hard way; what it held is gone unless it was started with `appendonly`. */
  stop(): Promise<void>
  /** Starts it again on the same port. */
  start(): Promise<void>
  /** The process stops in its tracks and its connections stay open. */
  freeze(): void
  thaw(): void
  /** Removes every key. */
  flush(): Promise<void>
  /** Stops it and removes its folder. */
  close(): Promise<void>
}

/**
 * Starts a real redis-server on a free port, with a folder of its own; gateways take it for one they know, unless it `isNew`. It ends with the test process, however that ends:
 * a guardian notices when the pipe from this process breaks.
 */
export async function startRedis(options: { appendonly?: boolean; isNew?: boolean } = {}): Promise<RedisServer> {
  const server = {
    binary: await findBinary(),
    dir: await mkdtemp(join(tmpdir(), 'gateway-redis-')),
    port: await freePort(),
    appendonly: options.appendonly ?? false,
  }
  let running = await launch(server)
  const url = `redis://127.0.0.1:${server.port}`
  if (!options.isNew) await withClient(url, makeOld)
  const redis: RedisServer = {
    url,
    port: server.port,
    get pid() {
      return running.child.pid as number
    },
    stop: () => kill(running.child),
    async start() {
      await dismiss(running.guardian, 'leave')
      running = await launch(server)
    },
    freeze: () => void running.child.kill('SIGSTOP'),
    thaw: () => void running.child.kill('SIGCONT'),
    async flush() {
      await withClient(url, async client => {
        await client.flushall()
        if (!options.isNew) await makeOld(client)
      })
    },
    async close() {
      await kill(running.child)
      await dismiss(running.guardian)
    },
  }
  return redis
}

async function withClient(url: string, work: (client: Redis) => Promise<unknown>): Promise<void> {
  const client = new Redis(url)
  await work(client)
  client.disconnect()
}

/** Gateways let a Redis that is new wait for some seconds before they trust its leases: not in every test. */
function makeOld(client: Redis): Promise<unknown> {
  return client.set('{segmind-gateway:flights}:since', '0')
}

async function findBinary(): Promise<string> {
  const script = pathToFileURL(resolve('test/support/obtain-redis.mjs')).href
  const { findRedisServer } = (await import(script)) as { findRedisServer(): string | undefined }
  const found = findRedisServer()
  if (!found)
    throw new Error('there is no redis-server: run `node test/support/obtain-redis.mjs` first, as `npm test` does')
  return found
}

interface Running {
  child: ChildProcess
  guardian: ChildProcess
}

async function launch(server: { binary: string; dir: string; port: number; appendonly: boolean }): Promise<Running> {
  const settings = ['--port', `${server.port}`, '--bind', '127.0.0.1', '--dir', server.dir, '--save', '']
  const appendonly = ['--appendonly', server.appendonly ? 'yes' : 'no']
  const child = spawn(server.binary, [...settings, ...appendonly], { stdio: ['ignore', 'pipe', 'inherit'] })
  const guardian = guard(child.pid as number, server.dir)
  await ready(child)
  return { child, guardian }
}

/** Waits for a word, or for the end that comes when this process is gone; unless told to leave, it sees to it that nothing is left. */
function guard(pid: number, dir: string): ChildProcess {
  const script =
    'trap "" INT TERM HUP; read -r word; [ "$word" = leave ] || { kill -9 "$0" 2> /dev/null; rm -rf "$1"; }'
  return spawn('sh', ['-c', script, `${pid}`, dir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
}

async function ready(child: ChildProcess): Promise<void> {
  const said: string[] = []
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  await new Promise<void>((resolve, reject) => {
    lines.on('line', line => {
      said.push(line)
      if (/ready to accept connections/i.test(line)) resolve()
    })
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`redis-server ended with ${code}: ${said.slice(-5).join('\n')}`)))
  })
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function dismiss(guardian: ChildProcess, word = 'clean'): Promise<void> {
  if (guardian.exitCode !== null || guardian.signalCode !== null) return
  guardian.stdin?.end(`${word}\n`)
  await once(guardian, 'exit')
}
