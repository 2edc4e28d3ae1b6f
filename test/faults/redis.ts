import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../support/programs/free-port.js'
import type { GuardedProcess } from '../support/programs/guardian.js'
import { launchRedis, trustLeases } from '../support/programs/redis-server.js'

/**
 * A redis-server that syncs every write before it responds, so that its data can be read after a
 * kill.
 */
export interface DurableRedis {
  url: string
  kill(): Promise<void>
  /** Starts it again with its data. */
  restart(): Promise<void>
  /** Starts an empty server on the same port and discards the data. */
  startEmpty(): Promise<void>
  freeze(): void
  thaw(): void
  /** Folders of the discarded data. */
  discardedDirs: readonly string[]
}

/**
 * Starts a server on a free port, with its data below `dir`. Gateways trust its leases at once, but
 * not those of an empty successor.
 */
export async function startDurableRedis(dir: string): Promise<DurableRedis> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const discardedDirs: string[] = []
  let generation = 0
  const folder = () => join(dir, `redis-${generation}`)
  let running = await launch(folder(), port)
  await trustLeases(url)
  return {
    url,
    discardedDirs,
    async kill() {
      await running.end('SIGKILL')
    },
    async restart() {
      running = await launch(folder(), port)
    },
    async startEmpty() {
      discardedDirs.push(folder())
      generation++
      running = await launch(folder(), port)
    },
    freeze: () => void running.child.kill('SIGSTOP'),
    thaw: () => void running.child.kill('SIGCONT'),
  }
}

/** Runs `read` against a server that has the data of a stopped one. */
export async function withRedisOver<T>(dir: string, read: (url: string) => Promise<T>): Promise<T> {
  const port = await freePort()
  const running = await launch(dir, port)
  try {
    return await read(`redis://127.0.0.1:${port}`)
  } finally {
    await running.end('SIGKILL')
  }
}

async function launch(dir: string, port: number): Promise<GuardedProcess> {
  await mkdir(dir, { recursive: true })
  return launchRedis(dir, port, ['--appendonly', 'yes', '--appendfsync', 'always'])
}
