import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { LedgerStep, StepSpool } from '../../../src/contracts/store.js'
import { openDiskSpool } from '../../../src/store/embedded/spool.js'
import { createMemorySpool } from '../../../src/store/memory-spool.js'
import { openStore } from '../../../src/store/open-store.js'
import { startRedis } from '../../support/programs/redis-server.js'
import { call, charged } from '../suite/samples.js'

const noteOf = (callId: string): LedgerStep => ({ kind: 'note', call: call(callId, { jobId: `job-${callId}` }) })

const callIds = async (spool: StepSpool) => (await spool.all()).map(({ step }) => step.call.callId)

async function onDisk(t: Test, dir = t.testdir()): Promise<StepSpool> {
  const spool = await openDiskSpool({ dir })
  t.teardown(() => spool.close())
  return spool
}

const technologies = { 'on disk': (t: Test) => onDisk(t), 'in memory': async () => createMemorySpool() }

for (const [where, open] of Object.entries(technologies)) {
  t.test(`${where}, steps of every kind are returned unchanged and in order`, async t => {
    const spool = await open(t)
    const steps: LedgerStep[] = [
      { kind: 'reserve', call: call('a', { purchase: 'unguarded', requestId: 'Grüße 🌊' }) },
      noteOf('a'),
      { kind: 'settle', call: call('b'), settled: charged(Number.MAX_SAFE_INTEGER) },
      { kind: 'release', call: call('c'), mayStillArrive: true },
      { kind: 'release', call: call('a'), mayStillArrive: false },
    ]
    t.same(await spool.all(), [])
    for (const step of steps) await spool.add(step)
    t.same(
      (await spool.all()).map(({ step }) => step),
      steps,
    )
  })

  t.test(`${where}, steps added concurrently keep their order`, async t => {
    const spool = await open(t)
    const names = Array.from({ length: 300 }, (_, index) => `${index}`)
    await Promise.all(names.map(name => spool.add(noteOf(name))))
    t.same(await callIds(spool), names)
    t.equal(new Set((await spool.all()).map(({ id }) => id)).size, names.length)
  })

  t.test(`${where}, remove deletes one step, and has no effect the second time`, async t => {
    const spool = await open(t)
    for (const name of ['a', 'b', 'c']) await spool.add(noteOf(name))
    const [, middle] = await spool.all()
    await spool.remove(middle?.id ?? '')
    await spool.remove(middle?.id ?? '')
    t.same(await callIds(spool), ['a', 'c'])
  })

  t.test(`${where}, the id of a removed step is not used again`, async t => {
    const spool = await open(t)
    await spool.add(noteOf('a'))
    const [first] = await spool.all()
    await spool.remove(first?.id ?? '')
    await spool.add(noteOf('b'))
    // A process that read the first step and removes it late must not remove the second.
    await spool.remove(first?.id ?? '')
    t.same(await callIds(spool), ['b'])
  })
}

t.test('on disk, steps outlive a closed spool, and their ids are not used again', async t => {
  const dir = join(t.testdir(), 'not', 'there', 'yet')
  const first = await openDiskSpool({ dir })
  for (const name of ['a', 'b']) await first.add(noteOf(name))
  const [one, other] = await first.all()
  await first.remove(other?.id ?? '')
  await first.close()
  const second = await onDisk(t, dir)
  await second.add(noteOf('c'))
  t.same(await callIds(second), ['a', 'c'])
  const ids = (await second.all()).map(({ id }) => id)
  t.equal(ids[0], one?.id)
  t.not(ids[1], other?.id)
  t.equal(statSync(join(dir, 'spool.mdb')).mode & 0o077, 0, 'no other user may read it')
})

t.test('a closed spool on disk rejects new steps', async t => {
  const spool = await openDiskSpool({ dir: t.testdir() })
  await spool.close()
  await t.rejects(spool.add(noteOf('a')), { name: 'StoreError' })
})

t.test('after two processes were killed, a third finds every step they acknowledged', async t => {
  const dir = t.testdir()
  const witness = await onDisk(t, dir)
  await witness.add(noteOf('before'))
  const acknowledged = await Promise.all(['x', 'y'].map(name => addUntilKilled(dir, name, 40)))
  await witness.add(noteOf('after'))
  const seen = await callIds(witness)
  t.same([seen[0], seen.at(-1)], ['before', 'after'])
  for (const [index, name] of ['x', 'y'].entries()) {
    const own = seen.filter(callId => callId.startsWith(`${name}-`))
    t.same(
      own,
      own.map((_, position) => `${name}-${position}`),
      'in the order of addition, without duplicates',
    )
    t.ok(own.length >= (acknowledged[index] ?? []).length && (acknowledged[index] ?? []).length >= 40)
  }
  const steps = await witness.all()
  t.same(steps.find(({ step }) => step.call.callId === 'x-7')?.step, noteOf('x-7'))
  for (const { id } of steps) await witness.remove(id)
  t.same(await witness.all(), [])
})

t.test('with Redis, even if it is down, steps wait on disk for the next process', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  await redis.stop()
  const dataDir = t.testdir()
  const problems: string[] = []
  const open = () => openFor(t, { redisUrl: redis.url, dataDir, problems })
  const first = await open()
  t.equal(first.isSpoolDurable, true)
  await first.spool.add(noteOf('a'))
  t.same(await callIds((await open()).spool), ['a'])
  t.same(problems, [])
})

t.test('with Redis and an unusable folder, steps wait in memory, and the problem is reported', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const dir = t.testdir({ file: 'no folder', damaged: {} })
  writeFileSync(join(dir, 'damaged', 'spool.mdb'), randomBytes(100_000))
  const unusable = {
    [join(dir, 'file', 'below')]: /cannot be used/,
    [join(dir, 'damaged')]: /spool\.mdb cannot be opened/,
  }
  for (const [dataDir, reason] of Object.entries(unusable)) {
    const problems: string[] = []
    const { spool, store, isSpoolDurable } = await openFor(t, { redisUrl: redis.url, dataDir, problems })
    t.equal(isSpoolDurable, false)
    t.match(problems, [reason])
    t.match(problems, [/^spool: /])
    await spool.add(noteOf('a'))
    t.same(await callIds(spool), ['a'])
    t.match(await store.ledger.reserve(call('a'), {}), { ok: true })
    await store.ledger.release(call('a'))
  }
})

t.test('with the embedded store, steps wait in memory, because its disk is the failed one', async t => {
  const dataDir = t.testdir()
  const problems: string[] = []
  const { spool, isSpoolDurable } = await openFor(t, { dataDir, problems })
  await spool.add(noteOf('a'))
  t.same(await callIds(spool), ['a'])
  t.equal(isSpoolDurable, false)
  t.equal(existsSync(join(dataDir, 'spool.mdb')), false)
  t.same(problems, [])
})

async function openFor(t: Test, wanted: { redisUrl?: string; dataDir: string; problems: string[] }) {
  const { redisUrl, dataDir, problems } = wanted
  const opened = await openStore(
    { redisUrl: redisUrl ? { reveal: () => redisUrl } : undefined, dataDir, maxBytes: 1_000_000 },
    { onProblem: (error, what) => problems.push(`${what}: ${(error as Error).message}`) },
  )
  t.teardown(async () => {
    await opened.store.close()
    await opened.spool.close()
  })
  return opened
}

/**
 * Lets a process add steps and kills it after it acknowledged `steps` of them. Returns all
 * acknowledged.
 */
async function addUntilKilled(dir: string, name: string, steps: number): Promise<string[]> {
  const program = fileURLToPath(new URL('./add-until-killed.js', import.meta.url))
  const child: ChildProcess = fork(program, [dir, name], { execArgv: [] })
  const acknowledged: string[] = []
  child.on('message', callId => {
    acknowledged.push(String(callId))
    if (acknowledged.length === steps) child.kill('SIGKILL')
  })
  await once(child, 'close')
  return acknowledged
}
