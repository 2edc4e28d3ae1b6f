import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import locks from 'fs-native-extensions'
import t, { type Test } from 'tap'
import { createOpenLock, type OpenLock } from '../../../src/store/embedded/open-lock.js'
import { openDiskSpool } from '../../../src/store/embedded/spool.js'
import { deferred } from '../../support/deferred.js'
import { eventually } from '../../support/eventually.js'
import { call } from '../suite/samples.js'

/** Returns locks of one file as different processes have them: locks belong to an open file. */
function locksOf(t: Test): [OpenLock, OpenLock, OpenLock] {
  const path = join(t.testdir(), 'lock')
  const locks: [OpenLock, OpenLock, OpenLock] = [createOpenLock(path), createOpenLock(path), createOpenLock(path)]
  t.teardown(() => {
    for (const lock of locks) lock.close()
  })
  return locks
}

t.test('writers do not wait for each other, and an opening waits for them', async t => {
  const [first, second, opener] = locksOf(t)
  const events: string[] = []
  const [one, other] = [deferred(), deferred()]
  const writes = [first, second].map((lock, index) =>
    lock.write(async () => {
      events.push(`write ${index}`)
      await [one, other][index]?.promise
      events.push(`written ${index}`)
    }),
  )
  const opened = opener.open(async () => void events.push('open'))
  one.resolve()
  await writes[0]
  t.same(events, ['write 0', 'write 1', 'written 0'])
  other.resolve()
  await Promise.all([...writes, opened])
  t.same(events, ['write 0', 'write 1', 'written 0', 'written 1', 'open'])
})

t.test('a waiting opening comes before new writes, and they follow in order', async t => {
  const [writer, opener, other] = locksOf(t)
  const events: string[] = []
  const present = deferred()
  const writes = [writer.write(() => present.promise)]
  const opening = deferred()
  const opened = opener.open(async () => {
    events.push('open')
    await opening.promise
    await opener.write(async () => void events.push('write inside'))
    events.push('opened')
  })
  for (const name of ['a', 'b', 'c']) writes.push(writer.write(async () => void events.push(name)))
  const elsewhere = other.write(async () => void events.push('elsewhere'))
  present.resolve()
  await writes[0]
  opening.resolve()
  await Promise.all([opened, elsewhere, ...writes])
  t.same(events.slice(0, 3), ['open', 'write inside', 'opened'])
  t.same(
    events.filter(event => event.length === 1),
    ['a', 'b', 'c'],
  )
})

t.test('while a stopped process holds up an opening, the others write on', async t => {
  const [stopped, opener, other] = locksOf(t)
  const writing = deferred()
  const write = stopped.write(() => writing.promise)
  const opened = opener.open(async () => 'opened')
  t.equal(await other.write(async () => 'written'), 'written')
  writing.resolve()
  await write
  t.equal(await opened, 'opened')
})

t.test('two openings follow each other, also after a failed one', async t => {
  const [first, second] = locksOf(t)
  const failed = first.open(() => Promise.reject(new Error('cannot be opened')))
  const opened = second.open(async () => 'opened')
  await t.rejects(failed, { message: 'cannot be opened' })
  t.equal(await opened, 'opened')
  t.equal(await first.write(async () => 'written'), 'written')
})

t.test('a closed lock rejects writes, and a write that ends later unlocks no other file', async t => {
  const [lock] = locksOf(t)
  const present = deferred()
  const writing = lock.write(() => present.promise)
  lock.close()
  const [next] = locksOf(t)
  const later = deferred()
  const held = next.open(() => later.promise)
  present.resolve()
  await writing
  await t.rejects(
    lock.write(async () => undefined),
    { message: 'the store is closed' },
  )
  later.resolve()
  await held
})

t.test('a file system without locks is named', async t => {
  const [lock] = locksOf(t)
  const noLocks = Object.assign(new Error('no locks available'), { code: 'ENOLCK' })
  t.intercept(locks, 'tryLock', {
    value: () => {
      throw noLocks
    },
  })
  const expected = {
    message: /lock cannot be locked: no locks available\. Use a folder on a local disk\.$/,
    cause: noLocks,
  }
  await t.rejects(
    lock.open(async () => undefined),
    expected,
  )
  await t.rejects(
    lock.write(async () => undefined),
    expected,
  )
})

t.test('the lock of a killed process ends with it', async t => {
  const path = join(t.testdir(), 'lock')
  const holder = childWith(t, 'hold', path)
  await once(holder, 'message')
  holder.kill('SIGKILL')
  await once(holder, 'close')
  const lock = createOpenLock(path)
  t.teardown(() => lock.close())
  t.equal(await lock.write(async () => 'written'), 'written')
})

t.test('a spool neither opens nor writes while another process opens its file', async t => {
  const dir = t.testdir()
  const spool = await openDiskSpool({ dir })
  const elsewhere = await openDiskSpool({ dir: join(dir, 'elsewhere') })
  const lock = createOpenLock(join(dir, 'spool.mdb-open-lock'))
  const events: string[] = []
  const opening = deferred()
  const opened = lock.open(async () => {
    events.push('opening')
    await opening.promise
    events.push('opened')
  })
  await eventually('the other process opens', () => events.length === 1)
  const added = spool.add({ kind: 'note', call: call('a', {}) }).then(() => events.push('added'))
  const other = openDiskSpool({ dir }).then(spool => {
    events.push('also opened')
    return spool.close()
  })
  // Another file can be written meanwhile.
  for (const name of ['a', 'b', 'c']) await elsewhere.add({ kind: 'note', call: call(name, {}) })
  opening.resolve()
  await Promise.all([opened, added, other])
  t.same(events.slice(0, 2), ['opening', 'opened'])
  await Promise.all([spool.close(), elsewhere.close()])
  lock.close()
})

t.test('while another process opens a file again and again, no acknowledged step is lost', async t => {
  const dir = t.testdir()
  const spool = await openDiskSpool({ dir })
  t.teardown(() => spool.close())
  const opener = childWith(t, 'open', dir)
  await once(opener, 'message')
  const names = Array.from({ length: 200 }, (_, index) => `${index}`)
  for (const name of names) await spool.add({ kind: 'note', call: call(name, { jobId: name }) })
  t.equal(opener.exitCode, null)
  // Otherwise it writes into the folder while that is removed.
  opener.kill('SIGKILL')
  await once(opener, 'close')
  t.same(
    (await spool.all()).map(({ step }) => step.call.callId),
    names,
  )
})

function childWith(t: Test, mode: 'hold' | 'open', path: string): ChildProcess {
  const program = fileURLToPath(new URL('./open-lock-process.js', import.meta.url))
  const child = fork(program, [mode, path], { execArgv: [] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}
