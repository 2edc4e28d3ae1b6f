import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import locks from 'fs-native-extensions'
import t, { type Test } from 'tap'
import { type Gate, openGate } from '../../../src/store/embedded/gate.js'
import { openDiskSpool } from '../../../src/store/embedded/spool.js'
import { eventually } from '../../support/eventually.js'
import { call } from '../suite/samples.js'

/** Returns gates of one file as different processes have them: locks belong to an open file. */
function gatesOf(t: Test): [Gate, Gate, Gate] {
  const path = join(t.testdir(), 'gate')
  const gates: [Gate, Gate, Gate] = [openGate(path), openGate(path), openGate(path)]
  t.teardown(() => {
    for (const gate of gates) gate.close()
  })
  return gates
}

function deferred() {
  let resolve = () => {}
  const promise = new Promise<void>(done => {
    resolve = done
  })
  return { promise, resolve }
}

t.test('writers do not wait for each other, and an opening waits for them', async t => {
  const [first, second, opener] = gatesOf(t)
  const events: string[] = []
  const [one, other] = [deferred(), deferred()]
  const writes = [first, second].map((gate, index) =>
    gate.pass(async () => {
      events.push(`write ${index}`)
      await [one, other][index]?.promise
      events.push(`written ${index}`)
    }),
  )
  const opened = opener.hold(async () => void events.push('open'))
  one.resolve()
  await writes[0]
  t.same(events, ['write 0', 'write 1', 'written 0'])
  other.resolve()
  await Promise.all([...writes, opened])
  t.same(events, ['write 0', 'write 1', 'written 0', 'written 1', 'open'])
})

t.test('a waiting opening comes before new writes, and they follow in order', async t => {
  const [writer, opener, other] = gatesOf(t)
  const events: string[] = []
  const present = deferred()
  const writes = [writer.pass(() => present.promise)]
  const opening = deferred()
  const opened = opener.hold(async () => {
    events.push('open')
    await opening.promise
    await opener.pass(async () => void events.push('write inside'))
    events.push('opened')
  })
  for (const name of ['a', 'b', 'c']) writes.push(writer.pass(async () => void events.push(name)))
  const elsewhere = other.pass(async () => void events.push('elsewhere'))
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
  const [stopped, opener, other] = gatesOf(t)
  const writing = deferred()
  const write = stopped.pass(() => writing.promise)
  const opened = opener.hold(async () => 'opened')
  t.equal(await other.pass(async () => 'written'), 'written')
  writing.resolve()
  await write
  t.equal(await opened, 'opened')
})

t.test('two openings follow each other, also after a failed one', async t => {
  const [first, second] = gatesOf(t)
  const failed = first.hold(() => Promise.reject(new Error('cannot be opened')))
  const opened = second.hold(async () => 'opened')
  await t.rejects(failed, { message: 'cannot be opened' })
  t.equal(await opened, 'opened')
  t.equal(await first.pass(async () => 'written'), 'written')
})

t.test('a closed gate lets nobody through, and a write that ends later unlocks no other file', async t => {
  const [gate] = gatesOf(t)
  const present = deferred()
  const writing = gate.pass(() => present.promise)
  gate.close()
  const [next] = gatesOf(t)
  const later = deferred()
  const held = next.hold(() => later.promise)
  present.resolve()
  await writing
  await t.rejects(
    gate.pass(async () => undefined),
    { message: 'the store is closed' },
  )
  later.resolve()
  await held
})

t.test('a file system without locks is named', async t => {
  const [gate] = gatesOf(t)
  const noLocks = Object.assign(new Error('no locks available'), { code: 'ENOLCK' })
  t.intercept(locks, 'tryLock', {
    value: () => {
      throw noLocks
    },
  })
  const expected = {
    message: /gate cannot be locked: no locks available\. Use a folder on a local disk\.$/,
    cause: noLocks,
  }
  await t.rejects(
    gate.hold(async () => undefined),
    expected,
  )
  await t.rejects(
    gate.pass(async () => undefined),
    expected,
  )
})

t.test('a process that is killed while it holds the gate keeps nobody out', async t => {
  const path = join(t.testdir(), 'gate')
  const holder = childWith(t, 'hold', path)
  await once(holder, 'message')
  holder.kill('SIGKILL')
  await once(holder, 'close')
  const gate = openGate(path)
  t.teardown(() => gate.close())
  t.equal(await gate.pass(async () => 'written'), 'written')
})

t.test('a spool neither opens nor writes while another process opens its file', async t => {
  const dir = t.testdir()
  const spool = await openDiskSpool({ dir })
  const gate = openGate(join(dir, 'spool.mdb-gate'))
  const events: string[] = []
  const opening = deferred()
  const opened = gate.hold(async () => {
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
  await setTimeout(20)
  opening.resolve()
  await Promise.all([opened, added, other])
  t.same(events.slice(0, 2), ['opening', 'opened'])
  await spool.close()
  gate.close()
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
  const program = fileURLToPath(new URL('./gate-process.js', import.meta.url))
  const child = fork(program, [mode, path], { execArgv: [] })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}
