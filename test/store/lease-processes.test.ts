import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { LeaseSnapshot, Store } from '../../src/contracts/store.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { startRedis } from '../support/programs/redis-server.js'
import { nextMessage } from './suite/workers.js'

const PROGRAM = fileURLToPath(new URL('./lease-process.js', import.meta.url))
const NAMES = Array.from({ length: 60 }, (_, index) => `name-${String(index).padStart(2, '0')}`)

const server = await startRedis()
t.teardown(() => server.close())

interface Technology {
  target: string
  open(): Promise<Store>
}

const technologies: Record<string, (t: Test) => Technology> = {
  redis: () => ({ target: server.url, open: () => openRedisStore({ url: server.url }) }),
  embedded(t) {
    const dir = t.testdir()
    return { target: dir, open: () => openEmbeddedStore({ dir, maxBytes: 1_000_000 }) }
  },
}

for (const [technology, prepare] of Object.entries(technologies)) {
  t.test(`${technology}: of three processes one acquires each lease, and one takes each over`, async t => {
    const { target, open } = prepare(t)
    const acquire = (wanted: { name: string; from?: LeaseSnapshot }[]) => race(t, [technology, target], wanted)
    const first = await acquire(NAMES.map(name => ({ name })))
    t.same(first.flat().sort(), NAMES, 'each lease once')

    const store = await open()
    t.teardown(() => store.close())
    const snapshots = await Promise.all(NAMES.map(name => store.leases.read(name)))
    t.ok(snapshots.every(snapshot => snapshot?.heartbeat === 0))
    const wanted = NAMES.map((name, index) => ({ name, from: snapshots[index] as LeaseSnapshot }))
    const second = await acquire(wanted)
    t.same(second.flat().sort(), NAMES, 'each lease once more')

    const third = await acquire(wanted)
    t.same(third.flat(), [], 'a snapshot from before a takeover permits no other')
  })
}

/**
 * Lets three processes acquire the same leases at the same moment. Returns the names each one got.
 */
async function race(t: Test, [technology = '', target = '']: string[], wanted: object[]): Promise<string[][]> {
  const children = [0, 1, 2].map(() => fork(PROGRAM, [technology, target, 'segmind-gateway'], { execArgv: [] }))
  t.teardown(() => children.map(child => child.kill('SIGKILL')))
  await Promise.all(children.map(nextMessage))
  const answers = children.map(nextMessage)
  for (const child of children) child.send(wanted)
  return (await Promise.all(answers)) as string[][]
}
