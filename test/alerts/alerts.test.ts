import t, { type Test } from 'tap'
import {
  type AlertFacts,
  type AlertNote,
  type Alerts,
  type AlertsOptions,
  openAlerts,
} from '../../src/alerts/alerts.js'
import type { CreditFacts } from '../../src/alerts/facts.js'
import { openWebhook } from '../../src/alerts/webhook.js'
import type { RecordStore } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'
import { bell, isSigned, type Receiver, stagedPauses, startReceiver } from './receiver.js'
import { meeting, withBothStores } from './stores.js'

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
const NOW = Date.parse('2026-11-27T10:00:00Z')
const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Facts that a test changes as it goes. */
class StagedFacts implements AlertFacts {
  share = 0
  key: 'accepted' | 'refused' | undefined
  state: CreditFacts['state']
  looks = 0
  isLedgerDown = false

  async budgets() {
    this.looks++
    if (this.isLedgerDown) throw new Error('the ledger does not answer')
    const window = { window: 'daily', windowName: '2026-11-27', limit: 1e9, booked: this.share * 1e9 } as const
    return [{ team: 'vision', ...window, alertAt: [0.8, 1] }]
  }

  async credits() {
    return { burn: {}, state: this.state, drifts: [] }
  }

  sharedKey() {
    return this.key
  }
}

/** Replicas that share a clock, facts and a receiver; they look when they are told to. */
function world(t: Test, receiver: Receiver) {
  const clock = { now: NOW }
  const facts = new StagedFacts()
  const retries = stagedPauses()
  const looks = stagedPauses()
  const notes: (Pick<AlertNote, 'incident' | 'attempts' | 'answer'> & { end: 'delivered' | 'failed' })[] = []
  const problems: string[] = []
  const ended = bell()
  const note = (end: 'delivered' | 'failed') => {
    return ({ incident, attempts, answer }: AlertNote) => {
      notes.push({ incident, attempts, answer, end })
      ended.ring()
    }
  }
  const replica = (records: RecordStore, options: Partial<AlertsOptions> = {}): Alerts => {
    const now = () => clock.now
    const webhook = openWebhook({ url: receiver.url, secret: async () => SECRET, now, wait: retries.wait })
    const alerts = openAlerts({
      facts,
      records,
      webhook,
      timeZone: 'Europe/Berlin',
      now,
      wait: looks.wait,
      onDelivered: note('delivered'),
      onFailed: note('failed'),
      onProblem: (_, doing) => problems.push(doing),
      ...options,
    })
    t.teardown(() => alerts.close())
    return alerts
  }
  const untilEnded = async (count: number) => {
    while (notes.length < count) await ended.rung()
  }
  return { clock, facts, retries, looks, notes, problems, replica, untilEnded }
}

withBothStores(t, 'two replicas that see the same at the same moment tell it once', async (t, replicas) => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded, notes } = world(t, receiver)
  facts.share = 0.85
  const [one, other] = meeting(replicas).map(records => replica(records)) as [Alerts, Alerts]
  await Promise.all([one.look(), other.look()])
  await untilEnded(1)
  for (let hours = 0; hours < 3; hours++) {
    clock.now += HOUR
    await Promise.all([one.look(), other.look()])
  }
  t.equal(receiver.received.length, 1)
  t.ok(await isSigned(receiver.received[0]!, SECRET))
  t.match(receiver.received[0]?.message, {
    type: 'budget.threshold',
    timestamp: '2026-11-27T10:00:00.000Z',
    data: { team: 'vision', threshold: 0.8 },
    text: /^Team vision has used 85 %/,
  })
  t.match(notes, [
    { incident: 'budget:vision:daily:2026-11-27:0.8', end: 'delivered', attempts: 1, answer: 'answered 200 OK' },
  ])
  await one.close()
  await other.close()
})

withBothStores(
  t,
  'what a replica had begun to tell when it died, another tells under the same id',
  async (t, replicas) => {
    const receiver = await startReceiver(t, [500])
    const { facts, clock, replica, retries, untilEnded } = world(t, receiver)
    facts.key = 'refused'
    const dying = replica(replicas[0])
    await dying.look()
    // It has told it once in vain, and is not heard of any more.
    await retries.nth(1)
    const other = replica(replicas[1])
    clock.now += 2 * MINUTE
    await other.look()
    t.equal(receiver.received.length, 1, 'it may be alive')
    clock.now += 1
    await other.look()
    await untilEnded(1)
    t.equal(receiver.received.length, 2)
    t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1)
    t.equal(receiver.received[1]?.message.timestamp, '2026-11-27T10:00:00.000Z')
    // It was only frozen: it sees that another has taken it, and leaves it.
    await dying.look()
    await dying.close()
    await other.close()
    t.equal(receiver.received.length, 2)
  },
)

t.test('while it is told again and again, a replica keeps its claim by looking', async t => {
  const receiver = await startReceiver(t)
  receiver.otherwise = 503
  const { facts, clock, replica, retries, notes, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  facts.key = 'refused'
  const one = replica(records)
  const other = replica(records)
  await one.look()
  await other.look()
  const sleepThrough = async (pause: { ms: number; end(): void }) => {
    for (let slept = 0; slept < pause.ms; slept += MINUTE) {
      clock.now += Math.min(MINUTE, pause.ms - slept)
      await one.look()
      await other.look()
    }
    pause.end()
  }
  for (const number of [1, 2, 3, 4]) await sleepThrough(await retries.nth(number))
  const last = await retries.nth(5)
  receiver.otherwise = 204
  await sleepThrough(last)
  await untilEnded(1)
  t.match(notes, [{ end: 'delivered', attempts: 6, answer: 'answered 204 No Content' }])
  t.equal(receiver.received.length, 6)
})

t.test('what nobody takes is told of, rests for the cool-down and is tried again', async t => {
  const receiver = await startReceiver(t, [410])
  const { facts, clock, replica, notes, untilEnded } = world(t, receiver)
  facts.key = 'refused'
  const alerts = replica(memoryRecords())
  await alerts.look()
  await untilEnded(1)
  t.match(notes[0], { end: 'failed', attempts: 1, answer: 'answered 410 Gone' })
  clock.now += HOUR - 1
  await alerts.look()
  t.equal(receiver.received.length, 1)
  clock.now += 1
  await alerts.look()
  await untilEnded(2)
  t.equal(notes[1]?.end, 'delivered')
})

t.test('a key that is refused, accepted and refused is told again only after the cool-down', async t => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded } = world(t, receiver)
  const alerts = replica(memoryRecords())
  facts.key = 'refused'
  await alerts.look()
  await untilEnded(1)
  facts.key = 'accepted'
  clock.now += 3 * MINUTE
  await alerts.look()
  facts.key = 'refused'
  clock.now += MINUTE
  await alerts.look()
  clock.now = NOW + HOUR - 1
  await alerts.look()
  t.equal(receiver.received.length, 1)
  clock.now += 1
  await alerts.look()
  await untilEnded(2)
  t.not(receiver.received[1]?.headers['webhook-id'], receiver.received[0]?.headers['webhook-id'])
})

t.test('the threshold of 100 % tells that of 80 %, which is not told when the budget has room again', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  const alerts = replica(records)
  facts.share = 1
  await alerts.look()
  await untilEnded(1)
  facts.share = 0.9
  await alerts.look()
  await alerts.close()
  t.equal(receiver.received.length, 1)
})

t.test('the lesser conditions are covered by the next look when who told the greater one could not', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  const forgetful: RecordStore = {
    ...records,
    put: async (key, ...rest) => (key.endsWith(':0.8') ? Promise.reject(new Error('down')) : records.put(key, ...rest)),
  }
  facts.share = 1
  await replica(forgetful).look()
  await untilEnded(1)
  const other = replica(records)
  await other.look()
  facts.share = 0.9
  await other.look()
  await other.close()
  t.equal(receiver.received.length, 1)
})

t.test('every state the credits come to is told, recovery included', async t => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded } = world(t, receiver)
  const alerts = replica(memoryRecords())
  const states = [{ name: 'normal' }, { name: 'empty', before: 'normal' }, { name: 'normal', before: 'empty' }] as const
  for (const [told, state] of states.entries()) {
    clock.now += 1000
    facts.state = { ...state, since: clock.now }
    await alerts.look()
    await untilEnded(told)
  }
  t.strictSame(
    receiver.received.map(({ message }) => [message.type, message.data.state]),
    [
      ['credits.state', 'empty'],
      ['credits.state', 'normal'],
    ],
  )
})

t.test('it looks by itself, every fifteen seconds', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, looks, untilEnded } = world(t, receiver)
  replica(memoryRecords())
  const pause = await looks.nth(1)
  t.equal(pause.ms, 15_000)
  facts.share = 0.9
  pause.end()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('looks do not overlap, and who asks during one gets another that all share', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, looks } = world(t, receiver)
  const alerts = replica(memoryRecords())
  await looks.nth(1)
  const before = facts.looks
  await Promise.all([alerts.look(), alerts.look(), alerts.look()])
  t.equal(facts.looks, before + 2)
  await alerts.look()
  t.equal(facts.looks, before + 3)
})

t.test('what cannot be found out does not keep the rest from being told', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  facts.isLedgerDown = true
  facts.key = 'refused'
  await replica(memoryRecords()).look()
  await untilEnded(1)
  t.equal(receiver.received[0]?.message.type, 'upstream.unauthorized')
  t.ok(problems.includes('facts'))
})

t.test('facts that make no sense are told of, and the next look goes on', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  facts.state = { name: 'empty', since: Number.NaN }
  const alerts = replica(memoryRecords())
  await alerts.look()
  t.ok(problems.includes('facts'))
  facts.state = { name: 'empty', since: NOW }
  await alerts.look()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('while the store is down nothing is told, and nothing is lost', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  records.failing = 'before'
  facts.key = 'refused'
  const alerts = replica(records)
  await alerts.look()
  t.equal(receiver.received.length, 0)
  t.ok(problems.includes('incidents'))
  records.failing = undefined
  await alerts.look()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('a replica that stops leaves what it is telling to another, at once', async t => {
  const receiver = await startReceiver(t, [503])
  const { facts, replica, retries, notes, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  facts.key = 'refused'
  const stopping = replica(records)
  await stopping.look()
  await retries.nth(1)
  await stopping.close()
  t.strictSame(notes, [], 'it has neither told it nor given it up')
  await replica(records).look()
  await untilEnded(1)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1)
  const { looks } = facts
  await stopping.look()
  t.equal(facts.looks, looks, 'it looks no more')
})

t.test('without a webhook nothing is looked at', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica } = world(t, receiver)
  const alerts = replica(memoryRecords(), { webhook: undefined })
  await alerts.look()
  await alerts.close()
  t.equal(facts.looks, 0)
})
