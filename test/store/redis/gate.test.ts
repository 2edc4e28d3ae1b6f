import t from 'tap'
import { StoreError } from '../../../src/storage.js'
import { createGate } from '../../../src/store/redis/gate.js'

/** A gate on a line on which nothing ever moves; silence is believed after 20 ms. */
function gateOnDeadLine() {
  let alarm = () => undefined as unknown
  const alarmed = new Promise<void>(resolve => {
    alarm = () => resolve()
  })
  const movement = () => ({ mark: 'still', receivedBytes: 0, sentBytes: 0 })
  return { gate: createGate({ silenceMs: 20, movement, onSilent: () => alarm() }), alarmed }
}

t.test('is shut at first: a command is not even started', async t => {
  const { gate } = gateOnDeadLine()
  await t.rejects(
    gate.run(async () => t.fail('started')),
    { name: 'StoreError', message: /not connected yet/ },
  )
  t.equal(gate.isOpen(), false)
})

t.test('passes answers on, and refusals as StoreError with nothing but their words', async t => {
  const { gate } = gateOnDeadLine()
  gate.open()
  t.equal(await gate.run(async () => 7), 7)
  const refusal = Object.assign(new Error('OOM'), { command: { args: ['secret'] } })
  const failure = await gate.run(() => Promise.reject(refusal)).catch(error => error)
  t.match(failure, { name: 'StoreError', message: 'Redis: OOM' })
  t.notMatch(JSON.stringify(failure), 'secret')
  const thrower = () => {
    throw new Error('before it was sent')
  }
  await t.rejects(gate.run(thrower), { name: 'StoreError', message: /before it was sent/ })
  const own = new StoreError('ours')
  t.equal(await gate.run(() => Promise.reject(own)).catch(error => error), own)
})

t.test('raises the alarm when a command waits in silence, and not without one', async t => {
  const { gate, alarmed } = gateOnDeadLine()
  gate.open()
  await gate.run(async () => 'answered')
  const waiting = gate.run(() => new Promise(() => undefined))
  await alarmed
  gate.shut('silent')
  await t.rejects(waiting, { name: 'StoreError', message: 'silent' })
})

t.test('drops what comes after it shut, answers and refusals alike', async t => {
  const { gate } = gateOnDeadLine()
  gate.open()
  const answers: (() => void)[] = []
  const late = [
    gate.run(() => new Promise(resolve => answers.push(() => resolve('late')))),
    gate.run(() => new Promise((_, reject) => answers.push(() => reject(new Error('late'))))),
  ]
  const idle = gate.idle()
  gate.shut('down')
  for (const outcome of await Promise.allSettled(late))
    t.match(outcome, { reason: { name: 'StoreError', message: 'down' } })
  await idle
  for (const answer of answers) answer()
  await t.rejects(
    gate.run(async () => 1),
    { message: 'down' },
  )
  gate.open()
  t.equal(await gate.run(async () => 1), 1)
})

t.test('tells what surely did not happen from what may have', async t => {
  const { gate } = gateOnDeadLine()
  t.match(await gate.run(async () => 0).catch(error => error), { mayHaveHappened: false }, 'shut: it was not sent')
  gate.open()
  const refusal = Object.assign(new Error('OOM'), { name: 'ReplyError' })
  t.match(await gate.run(() => Promise.reject(refusal)).catch(error => error), { mayHaveHappened: false }, 'refused')
  const lost = gate.run(() => Promise.reject(new Error('Connection is closed.'))).catch(error => error)
  t.match(await lost, { mayHaveHappened: true }, 'the connection ended before the answer')
  const waiting = gate.run(() => new Promise(() => undefined)).catch(error => error)
  gate.shut('silent')
  t.match(await waiting, { mayHaveHappened: true }, 'sent, and not answered')
})
