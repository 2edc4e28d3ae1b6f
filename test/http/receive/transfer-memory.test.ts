import fc from 'fast-check'
import t from 'tap'
import { type Holder, type MemoryHold, TransferMemory } from '../../../src/http/receive/transfer-memory.js'
import { deferred } from '../../support/deferred.js'
import { eventually } from '../../support/eventually.js'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { connectTo, type RawClient } from '../../support/gateway/raw-client.js'

const vision = { id: 'vision', limits: { weight: 1 } }
const ops = { id: 'ops', limits: { weight: 1 } }
const MIB = 1024 ** 2

/** Begins a booking and adds bytes to it. */
function holding(memory: TransferMemory, team: typeof vision, bytes: number) {
  const hold = memory.hold(team)
  hold.add(bytes)
  return hold
}

t.test('a team holds at most its share, and others always find room', t => {
  const memory = new TransferMemory(12 * MIB)
  const first = holding(memory, vision, 6 * MIB)
  t.throws(() => holding(memory, vision, MIB), { code: 'overloaded', retryAfterSeconds: 1 }, 'alone it gets half')
  const second = holding(memory, ops, 4 * MIB)
  t.throws(() => second.add(1), { code: 'overloaded' }, 'of two teams each gets a third')
  const heavy = memory.hold({ id: 'heavy', limits: { weight: 3 } })
  t.throws(() => heavy.add(3 * MIB), { code: 'overloaded' })
  heavy.release()
  t.doesNotThrow(() => holding(memory, { id: 'third', limits: { weight: 1 } }, 2 * MIB), 'the rest of the memory')
  first.release()
  t.doesNotThrow(() => holding(memory, { id: 'heavy', limits: { weight: 3 } }, 5 * MIB))
  t.end()
})

t.test('what a refused booking held is free again after its release', t => {
  const memory = new TransferMemory(10 * MIB)
  const first = holding(memory, vision, 3 * MIB)
  const refused = holding(memory, vision, 2 * MIB)
  t.throws(() => refused.add(MIB), { code: 'overloaded' })
  t.equal(memory.heldBytes, 5 * MIB, 'a refused addition changes nothing')
  refused.release()
  refused.release()
  t.equal(memory.heldBytes, 3 * MIB)
  first.add(2 * MIB)
  first.release()
  t.equal(memory.heldBytes, 0)
  first.add(MIB)
  t.equal(memory.heldBytes, 0, 'a released booking stays released')
  t.end()
})

t.test('a request that is alone always fits, and a small one always does', t => {
  const memory = new TransferMemory(MIB)
  const alone = holding(memory, vision, 5 * MIB)
  t.throws(() => holding(memory, ops, MIB), { code: 'overloaded' })
  t.doesNotThrow(() => holding(memory, vision, 64 * 1024))
  alone.release()
  t.end()
})

t.test('a booking lasts until all work with it has ended', async t => {
  const memory = new TransferMemory(10 * MIB)
  const hold = holding(memory, vision, MIB)
  const works = [deferred(), deferred()] as const
  for (const { promise } of works) hold.until(promise)
  hold.release()
  works[0].resolve()
  await works[0].promise
  t.equal(memory.heldBytes, MIB)
  works[1].reject(new Error('failed work has ended too'))
  await works[1].promise.catch(() => {})
  t.equal(memory.heldBytes, 0)
})

t.test('a buffer is booked once, whatever the number of its users', t => {
  const memory = new TransferMemory(10 * MIB)
  const body = Buffer.alloc(4 * MIB)
  const optional = { isForced: false }
  const first = memory.holdBuffer(vision, body, optional)
  const second = memory.holdBuffer(ops, body, optional)
  t.equal(memory.heldBytes, 4 * MIB)
  const hold = memory.hold(ops)
  hold.addBuffer(body)
  first()
  first()
  second()
  t.equal(memory.heldBytes, 4 * MIB)
  hold.release()
  t.equal(memory.heldBytes, 0)
  const other = memory.holdBuffer(vision, body, optional)
  t.throws(() => memory.holdBuffer(vision, Buffer.alloc(4 * MIB), optional), { code: 'overloaded' })
  const paid = memory.holdBuffer(vision, Buffer.alloc(4 * MIB), { isForced: true })
  t.equal(memory.heldBytes, 8 * MIB, 'a paid answer is always sent')
  other()
  paid()
  t.equal(memory.heldBytes, 0)
  t.end()
})

t.test('property: bookings never exceed the memory, and all of them are freed', t => {
  const step = fc.record({ team: fc.nat(3), bytes: fc.integer({ min: 70_000, max: 3 * MIB }), ends: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const memory = new TransferMemory(10 * MIB)
      const holds: MemoryHold[] = []
      for (const { team, bytes, ends } of steps) {
        if (ends) holds.shift()?.release()
        const hold = memory.hold({ id: `team-${team}`, limits: { weight: team + 1 } })
        holds.push(hold)
        const before = memory.heldBytes
        try {
          hold.add(bytes)
        } catch {
          if (memory.heldBytes !== before) return false
        }
        if (memory.heldBytes > 10 * MIB) return false
      }
      for (const hold of holds) hold.release()
      return memory.heldBytes === 0
    }),
  )
  t.end()
})

t.test('promised bytes book nothing; those that arrived do', async t => {
  const { hold } = TransferMemory.prototype
  let heldBytes = () => 0
  t.intercept(TransferMemory.prototype, 'hold', {
    value(this: TransferMemory, team: Holder): MemoryHold {
      heldBytes = () => this.heldBytes
      return hold.call(this, team)
    },
  })
  const gateway = await startTestGateway({
    teams: { vision: {}, ops: {} },
    env: { MAX_IMAGE_BYTES: '4MiB', UPLOAD_MEMORY_BYTES: '4MiB' },
  })
  t.teardown(gateway.stop)
  const begin = async () => {
    const client = await connectTo(gateway.url)
    client.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\n`)
    client.send('content-type: application/json\r\ncontent-length: 4000000\r\n\r\n')
    return client
  }
  const stalled = await Promise.all(Array.from({ length: 20 }, begin))
  t.equal((await gateway.segment()).status, 200, 'promises take nothing from others')

  const [first, second] = stalled as [RawClient, RawClient]
  first.send(`{"image":"${'A'.repeat(1_500_000)}`)
  await eventually('no byte arrived', () => heldBytes() > 1_000_000)
  second.send(`{"image":"${'A'.repeat(1_500_000)}`)
  t.match(await second.until(/"code":"overloaded"/), /^HTTP\/1\.1 503 .*retry-after: 1\r\n/is)
  t.equal((await gateway.segment(undefined, { team: 'ops' })).status, 200, 'another team has its own share')
  for (const client of stalled) client.destroy()
})
