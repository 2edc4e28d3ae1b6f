import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { LeaseSight, Store } from '../../src/storage.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { startRedis } from '../support/redis-server.js'

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
  t.test(`${technology}: of three processes one gets each name, and one takes each over from the dead`, async t => {
    const { target, open } = prepare(t)
    const take = (wanted: { name: string; from?: LeaseSight }[]) => race(t, [technology, target], wanted)
    const first = await take(NAMES.map(name => ({ name })))
    t.same(first.flat().sort(), NAMES, 'each name once')

    const store = await open()
    t.teardown(() => store.close())
    const sights = await Promise.all(NAMES.map(name => store.leases.look(name)))
    t.ok(sights.every(sight => sight?.beat === 0))
    const wanted = NAMES.map((name, index) => ({ name, from: sights[index] as LeaseSight }))
    const second = await take(wanted)
    t.same(second.flat().sort(), NAMES, 'each name once again')

    const third = await take(wanted)
    t.same(third.flat(), [], 'what was seen before somebody took over is of no use')
  })
}

/** Lets three processes ask for the same names at the same moment; answers what each got. */
async function race(t: Test, [technology = '', target = '']: string[], wanted: object[]): Promise<string[][]> {
  const children = [0, 1, 2].map(() => fork(PROGRAM, [technology, target, 'segmind-gateway'], { execArgv: [] }))
  t.teardown(() => children.map(child => child.kill('SIGKILL')))
  await Promise.all(children.map(heard))
  const answers = children.map(heard)
  for (const child of children) child.send(wanted)
  return (await Promise.all(answers)) as string[][]
}

async function heard(child: ChildProcess): Promise<unknown> {
  const died = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process ended early (${code ?? signal})`)
  })
  const [message] = (await Promise.race([once(child, 'message'), died])) as [unknown]
  died.catch(() => undefined)
  return message
}
