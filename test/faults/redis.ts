import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { freePort } from '../support/free-port.js'
import type { Guardian } from './guardian.js'

/** A redis-server that writes everything down before it answers, so that what it held can be read after it was killed. */
export interface DurableRedis {
  url: string
  kill(): Promise<void>
  /** Starts it again with all it held. */
  restart(): Promise<void>
  /** Starts another one on the same port that has nothing. */
  startEmpty(): Promise<void>
  freeze(): void
  thaw(): void
  /** The folders of those that were thrown away. */
  thrownAway: readonly string[]
}

export interface RedisPlace {
  dir: string
  guardian: Guardian
}

/** Starts one on a free port. Gateways need not wait until they may trust its leases; those of an empty one they do. */
export async function startDurableRedis(place: RedisPlace): Promise<DurableRedis> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const thrownAway: string[] = []
  let generation = 0
  const folder = () => join(place.dir, `redis-${generation}`)
  let child = await launch(folder(), port, place.guardian)
  const client = new Redis(url)
  await client.set('{segmind-gateway:flights}:since', '0')
  client.disconnect()
  return {
    url,
    thrownAway,
    kill: () => kill(child),
    async restart() {
      child = await launch(folder(), port, place.guardian)
    },
    async startEmpty() {
      thrownAway.push(folder())
      generation++
      child = await launch(folder(), port, place.guardian)
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
  }
}

/** Starts one over a folder that another one left, for as long as it is read. */
export async function withRedisOver<T>(dir: string, guardian: Guardian, read: (url: string) => Promise<T>): Promise<T> {
  const port = await freePort()
  const child = await launch(dir, port, guardian)
  try {
    return await read(`redis://127.0.0.1:${port}`)
  } finally {
    await kill(child)
  }
}

async function launch(dir: string, port: number, guardian: Guardian): Promise<ChildProcess> {
  await mkdir(dir, { recursive: true })
  const where = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir, '--save', '']
  const child = spawn(await findBinary(), [...where, '--appendonly', 'yes', '--appendfsync', 'always'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const pid = child.pid as number
  guardian.watch(pid)
  child.once('exit', () => guardian.forget(pid))
  await ready(child)
  return child
}

async function findBinary(): Promise<string> {
  const script = pathToFileURL(resolve('test/support/obtain-redis.mjs')).href
  const { findRedisServer } = (await import(script)) as { findRedisServer(): string | undefined }
  const found = findRedisServer()
  if (!found) throw new Error('there is no redis-server: run `node test/support/obtain-redis.mjs` first')
  return found
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
