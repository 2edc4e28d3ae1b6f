import t from 'tap'
import { StoreError } from '../../../src/contracts/store.js'
import { createGate } from '../../../src/store/redis/gate.js'

/** Creates a gate on a connection without traffic. It detects silence after 20 ms. */
function gateOnSilentConnection() {
  let alarm = () => undefined as unknown
  const alarmed = new Promise<void>(resolve => {
    alarm = () => resolve()
  })
  const traffic = () => ({ fingerprint: 'still', receivedBytes: 0, sentBytes: 0 })
  return { gate: createGate({ silenceMs: 20, traffic, onSilent: () => alarm() }), alarmed }
}

t.test('a new gate is closed, and starts no command', async t => {
  const { gate } = gateOnSilentConnection()
  await t.rejects(
    gate.run(async () => t.fail('started')),
    { name: 'StoreError', message: /not connected yet/ },
  )
  t.equal(gate.isOpen(), false)
})

t.test('an open gate passes answers on, and refusals as StoreError with their message only', async t => {
  const { gate } = gateOnSilentConnection()
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

t.test('silence is reported while a command waits, and only then', async t => {
  const { gate, alarmed } = gateOnSilentConnection()
  gate.open()
  await gate.run(async () => 'answered')
  const waiting = gate.run(() => new Promise(() => undefined))
  await alarmed
  gate.close('silent')
  await t.rejects(waiting, { name: 'StoreError', message: 'silent' })
})

t.test('answers and refusals that arrive after the gate closed are dropped', async t => {
  const { gate } = gateOnSilentConnection()
  gate.open()
  const answers: (() => void)[] = []
  const late = [
    gate.run(() => new Promise(resolve => answers.push(() => resolve('late')))),
    gate.run(() => new Promise((_, reject) => answers.push(() => reject(new Error('late'))))),
  ]
  const idle = gate.idle()
  gate.close('down')
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

t.test('an error tells whether the command may have had an effect', async t => {
  const { gate } = gateOnSilentConnection()
  t.match(await gate.run(async () => 0).catch(error => error), { mayHaveHappened: false }, 'closed: not sent')
  gate.open()
  const refusal = Object.assign(new Error('OOM'), { name: 'ReplyError' })
  t.match(await gate.run(() => Promise.reject(refusal)).catch(error => error), { mayHaveHappened: false }, 'refused')
  const lost = gate.run(() => Promise.reject(new Error('Connection is closed.'))).catch(error => error)
  t.match(await lost, { mayHaveHappened: true }, 'the connection ended before the answer')
  const waiting = gate.run(() => new Promise(() => undefined)).catch(error => error)
  gate.close('silent')
  t.match(await waiting, { mayHaveHappened: true }, 'sent and not answered')
})
