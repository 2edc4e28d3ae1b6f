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
import type { RecordStore } from '../../src/contracts/store.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { bell, isSigned, type Receiver, stagedPauses, startReceiver } from './receiver.js'
import { meeting, withBothStores } from './stores.js'

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
const NOW = Date.parse('2026-11-27T10:00:00Z')
const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Facts that a test can change. */
class StagedFacts implements AlertFacts {
  share = 0
  key: 'accepted' | 'refused' | undefined
  state: CreditFacts['state']
  checks = 0
  isLedgerDown = false

  async budgets() {
    this.checks++
    if (this.isLedgerDown) throw new Error('the ledger does not respond')
    const window = { window: 'daily', windowName: '2026-11-27', limit: 1e9, booked: this.share * 1e9 } as const
    return [{ team: 'vision', ...window, alertAt: [0.8, 1] }]
  }

  async credits() {
    return { burn: {}, state: this.state, drifts: [], implausible: [] }
  }

  sharedKey() {
    return this.key
  }
}

/** Replicas that share a clock, facts and a receiver. The test triggers their checks. */
function world(t: Test, receiver: Receiver) {
  const clock = { now: NOW }
  const facts = new StagedFacts()
  const retries = stagedPauses()
  const intervals = stagedPauses()
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
      wait: intervals.wait,
      observer: {
        alertDelivered: note('delivered'),
        alertRetried: () => {},
        alertFailed: note('failed'),
        storeFailed: (_, operation) => problems.push(operation),
      },
      ...options,
    })
    t.teardown(() => alerts.close())
    return alerts
  }
  const untilEnded = async (count: number) => {
    while (notes.length < count) await ended.rung()
  }
  return { clock, facts, retries, intervals, notes, problems, replica, untilEnded }
}

withBothStores(t, 'two replicas that see a condition at the same moment send it once', async (t, replicas) => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded, notes } = world(t, receiver)
  facts.share = 0.85
  const [one, other] = meeting(replicas).map(records => replica(records)) as [Alerts, Alerts]
  await Promise.all([one.check(), other.check()])
  await untilEnded(1)
  for (let hours = 0; hours < 3; hours++) {
    clock.now += HOUR
    await Promise.all([one.check(), other.check()])
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

withBothStores(t, 'an alert of a replica that died is sent by another one under the same id', async (t, replicas) => {
  const receiver = await startReceiver(t, [500])
  const { facts, clock, replica, retries, untilEnded } = world(t, receiver)
  facts.key = 'refused'
  const dying = replica(replicas[0])
  await dying.check()
  // The replica failed to deliver it once and then stopped responding.
  await retries.nth(1)
  const other = replica(replicas[1])
  clock.now += 2 * MINUTE
  await other.check()
  t.equal(receiver.received.length, 1, 'the first replica may be alive')
  clock.now += 1
  await other.check()
  await untilEnded(1)
  t.equal(receiver.received.length, 2)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1)
  t.equal(receiver.received[1]?.message.timestamp, '2026-11-27T10:00:00.000Z')
  // It was only frozen. It finds its claim taken over and sends nothing.
  await dying.check()
  await dying.close()
  await other.close()
  t.equal(receiver.received.length, 2)
})

t.test('checks renew the claim of a replica during its retries', async t => {
  const receiver = await startReceiver(t)
  receiver.otherwise = 503
  const { facts, clock, replica, retries, notes, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  facts.key = 'refused'
  const one = replica(records)
  const other = replica(records)
  await one.check()
  await other.check()
  const sleepThrough = async (pause: { ms: number; end(): void }) => {
    for (let slept = 0; slept < pause.ms; slept += MINUTE) {
      clock.now += Math.min(MINUTE, pause.ms - slept)
      await one.check()
      await other.check()
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

t.test('a refused alert is reported and sent again after the cool-down', async t => {
  const receiver = await startReceiver(t, [410])
  const { facts, clock, replica, notes, untilEnded } = world(t, receiver)
  facts.key = 'refused'
  const alerts = replica(memoryRecords())
  await alerts.check()
  await untilEnded(1)
  t.match(notes[0], { end: 'failed', attempts: 1, answer: 'answered 410 Gone' })
  clock.now += HOUR - 1
  await alerts.check()
  t.equal(receiver.received.length, 1)
  clock.now += 1
  await alerts.check()
  await untilEnded(2)
  t.equal(notes[1]?.end, 'delivered')
})

t.test('a shared key that is refused again alerts only after the cool-down', async t => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded } = world(t, receiver)
  const alerts = replica(memoryRecords())
  facts.key = 'refused'
  await alerts.check()
  await untilEnded(1)
  facts.key = 'accepted'
  clock.now += 3 * MINUTE
  await alerts.check()
  facts.key = 'refused'
  clock.now += MINUTE
  await alerts.check()
  clock.now = NOW + HOUR - 1
  await alerts.check()
  t.equal(receiver.received.length, 1)
  clock.now += 1
  await alerts.check()
  await untilEnded(2)
  t.not(receiver.received[1]?.headers['webhook-id'], receiver.received[0]?.headers['webhook-id'])
})

t.test('the alert for 100 % covers the one for 80 %', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  const alerts = replica(records)
  facts.share = 1
  await alerts.check()
  await untilEnded(1)
  facts.share = 0.9
  await alerts.check()
  await alerts.close()
  t.equal(receiver.received.length, 1)
})

t.test('the next check covers the lesser conditions if the sender could not', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  const forgetful: RecordStore = {
    ...records,
    put: async (key, ...rest) => (key.endsWith(':0.8') ? Promise.reject(new Error('down')) : records.put(key, ...rest)),
  }
  facts.share = 1
  await replica(forgetful).check()
  await untilEnded(1)
  const other = replica(records)
  await other.check()
  facts.share = 0.9
  await other.check()
  await other.close()
  t.equal(receiver.received.length, 1)
})

t.test('every change of the credit state is sent, including a recovery', async t => {
  const receiver = await startReceiver(t)
  const { facts, clock, replica, untilEnded } = world(t, receiver)
  const alerts = replica(memoryRecords())
  const states = [{ name: 'normal' }, { name: 'empty', before: 'normal' }, { name: 'normal', before: 'empty' }] as const
  for (const [sent, state] of states.entries()) {
    clock.now += 1000
    facts.state = { ...state, since: clock.now }
    await alerts.check()
    await untilEnded(sent)
  }
  t.strictSame(
    receiver.received.map(({ message }) => [message.type, message.data.state]),
    [
      ['credits.state', 'empty'],
      ['credits.state', 'normal'],
    ],
  )
})

t.test('conditions are checked every fifteen seconds', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, intervals, untilEnded } = world(t, receiver)
  replica(memoryRecords())
  const pause = await intervals.nth(1)
  t.equal(pause.ms, 15_000)
  facts.share = 0.9
  pause.end()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('checks do not overlap, and calls during a check share the next one', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, intervals } = world(t, receiver)
  const alerts = replica(memoryRecords())
  await intervals.nth(1)
  const before = facts.checks
  await Promise.all([alerts.check(), alerts.check(), alerts.check()])
  t.equal(facts.checks, before + 2)
  await alerts.check()
  t.equal(facts.checks, before + 3)
})

t.test('facts that cannot be read do not block other alerts', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  facts.isLedgerDown = true
  facts.key = 'refused'
  await replica(memoryRecords()).check()
  await untilEnded(1)
  t.equal(receiver.received[0]?.message.type, 'upstream.unauthorized')
  t.ok(problems.includes('alerts: facts'))
})

t.test('invalid facts are reported, and the next check continues', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  facts.state = { name: 'empty', since: Number.NaN }
  const alerts = replica(memoryRecords())
  await alerts.check()
  t.ok(problems.includes('alerts: facts'))
  facts.state = { name: 'empty', since: NOW }
  await alerts.check()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('while the store is down nothing is sent, and afterwards the condition is', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica, problems, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  records.failing = 'before'
  facts.key = 'refused'
  const alerts = replica(records)
  await alerts.check()
  t.equal(receiver.received.length, 0)
  t.ok(problems.includes('alerts: incidents'))
  records.failing = undefined
  await alerts.check()
  await untilEnded(1)
  t.equal(receiver.received.length, 1)
})

t.test('a replica that stops releases its undelivered alert to another at once', async t => {
  const receiver = await startReceiver(t, [503])
  const { facts, replica, retries, notes, untilEnded } = world(t, receiver)
  const records = memoryRecords()
  facts.key = 'refused'
  const stopping = replica(records)
  await stopping.check()
  await retries.nth(1)
  await stopping.close()
  t.strictSame(notes, [], 'neither delivered nor failed')
  await replica(records).check()
  await untilEnded(1)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1)
  const { checks } = facts
  await stopping.check()
  t.equal(facts.checks, checks, 'it checks no more')
})

t.test('without a webhook nothing is checked', async t => {
  const receiver = await startReceiver(t)
  const { facts, replica } = world(t, receiver)
  const alerts = replica(memoryRecords(), { webhook: undefined })
  await alerts.check()
  await alerts.close()
  t.equal(facts.checks, 0)
})
