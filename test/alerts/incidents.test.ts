import t from 'tap'
import type { Incident } from '../../src/alerts/incident.js'
import { type Claim, Incidents } from '../../src/alerts/incidents.js'
import type { RecordStore } from '../../src/contracts/store.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { eventually } from '../support/eventually.js'
import { meeting, withBothStores } from './stores.js'

const NOW = 1_764_547_200_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE

function world(records = memoryRecords()) {
  const clock = { now: NOW }
  const failures: unknown[] = []
  const replica = (of: RecordStore = records) =>
    new Incidents({
      records: of,
      now: () => clock.now,
      coolDownMs: HOUR,
      observer: { storeFailed: error => failures.push(error) },
    })
  const found = (key: string): Incident => JSON.parse(records.kept.get(`alerts:incident:${key}`)?.value ?? 'null')
  return { records, clock, failures, replica, found }
}

function claimed(opened: Claim | 'sent' | undefined): Claim {
  if (opened === undefined || opened === 'sent') throw new Error(`not claimed: ${opened}`)
  return opened
}

withBothStores(t, 'of two replicas that see a condition at the same moment, one claims it', async (t, replicas) => {
  const { replica } = world()
  const [one, other] = meeting(replicas).map(replica) as [Incidents, Incidents]
  const opened = await Promise.all([one.open('a'), other.open('a')])
  const claims = opened.filter(claim => claim !== undefined)
  t.equal(claims.length, 1)
  t.strictSame(
    await Promise.all([one.open('a'), other.open('a')]),
    [undefined, undefined],
    'no further claim while it is being sent',
  )
  await claimed(claims[0]).end('sent')
  t.strictSame(await Promise.all([one.open('a'), other.open('a')]), ['sent', 'sent'])
})

withBothStores(t, 'a stale claim is taken over by one of the other replicas', async (t, replicas) => {
  const { replica, clock } = world()
  const dead = claimed(await replica(replicas[0]).open('a'))
  clock.now += 2 * MINUTE
  t.equal(await replica(replicas[1]).open('a'), undefined, 'the claim is not stale yet')
  clock.now += 1
  const [one, other] = meeting(replicas).map(replica) as [Incidents, Incidents]
  const claims = (await Promise.all([one.open('a'), other.open('a')])).filter(claim => claim !== undefined)
  t.equal(claims.length, 1)
  const successor = claimed(claims[0])
  t.equal(successor.messageId, dead.messageId, 'the same message id, because the message may have been delivered')
  t.equal(successor.openedAt, dead.openedAt)
  await dead.end('sent')
  t.equal(await replica(replicas[1]).open('a'), undefined, 'the late end of the former holder is ignored')
})

t.test('a renewed claim is kept, however long the delivery takes', async t => {
  const { replica, clock } = world()
  const one = replica()
  const claim = claimed(await one.open('a'))
  for (let minutes = 0; minutes < 20; minutes++) {
    clock.now += MINUTE
    await one.renew()
    t.equal(await replica().open('a'), undefined)
  }
  t.notOk(claim.lost.aborted)
})

t.test('a replica that did not renew its claim learns that it is lost', async t => {
  const { replica, clock, found } = world()
  const one = replica()
  const other = replica()
  const claim = claimed(await one.open('a'))
  clock.now += 3 * MINUTE
  const taken = claimed(await other.open('a'))
  await one.renew()
  t.ok(claim.lost.aborted)
  await claim.end('released')
  await taken.end('sent')
  t.match(found('a'), { status: 'sent', messageId: claim.messageId })
  await one.renew()
  t.equal(await one.open('a'), 'sent')
})

t.test('a released incident can be claimed at once', async t => {
  const { replica } = world()
  const claim = claimed(await replica().open('a'))
  const other = replica()
  t.equal(await other.open('a'), undefined)
  await claim.end('released')
  t.equal(claimed(await other.open('a')).messageId, claim.messageId)
})

t.test('a condition that returns within the cool-down is sent after it, as a new message', async t => {
  const { replica, clock, found } = world()
  const incidents = replica()
  const first = claimed(await incidents.open('a'))
  await first.end('sent')
  clock.now += 3 * MINUTE
  await incidents.clear('a')
  t.equal(found('a').clearedAt, clock.now)
  clock.now = NOW + HOUR - 1
  t.equal(await incidents.open('a'), 'sent')
  clock.now = NOW + HOUR
  const second = claimed(await incidents.open('a'))
  t.not(second.messageId, first.messageId)
  t.equal(second.openedAt, clock.now)
})

t.test('a condition has not cleared while another replica sees it', async t => {
  const { replica, clock, found } = world()
  const seeing = replica()
  const other = replica()
  await claimed(await seeing.open('a')).end('sent')
  for (let minutes = 0; minutes < 10; minutes++) {
    clock.now += MINUTE
    await seeing.open('a')
    await other.clear('a')
    t.equal(found('a').clearedAt, undefined)
  }
  clock.now += 2 * MINUTE + 1
  await other.clear('a')
  t.equal(found('a').clearedAt, clock.now)
})

t.test('a condition that holds renews its record once a minute, for 45 days', async t => {
  const { replica, clock, found, records } = world()
  const incidents = replica()
  await claimed(await incidents.open('a')).end('sent')
  const versions = new Set<string | undefined>()
  for (let seconds = 0; seconds <= 120; seconds += 15) {
    clock.now = NOW + seconds * 1000
    await incidents.open('a')
    versions.add(records.kept.get('alerts:incident:a')?.version)
  }
  t.equal(versions.size, 3)
  t.equal(found('a').seenAt, NOW + 2 * MINUTE)
  t.equal(records.kept.get('alerts:incident:a')?.ttlSeconds, 45 * 86_400)
})

t.test('a failed incident is sent again after the cool-down under the same id', async t => {
  const { replica, clock } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  await claim.end('failed')
  t.equal(await incidents.open('a'), undefined)
  clock.now += HOUR
  t.equal(claimed(await incidents.open('a')).messageId, claim.messageId)
})

t.test('a cleared condition with a stale claim is deleted', async t => {
  const { replica, clock, records } = world()
  await replica().open('a')
  clock.now += 2 * MINUTE
  await replica().clear('a')
  t.equal(records.kept.size, 1, 'the claim is not stale yet')
  clock.now += 1
  await replica().clear('a')
  t.equal(records.kept.size, 0)
})

t.test('a cleared condition without an incident leaves no record', async t => {
  const { replica, records } = world()
  await replica().clear('a')
  t.equal(records.kept.size, 0)
})

t.test('a covered condition counts as sent', async t => {
  const { replica, found } = world()
  const incidents = replica()
  await incidents.cover('a')
  t.equal(await incidents.open('a'), 'sent')
  const { messageId } = found('a')
  await incidents.cover('a')
  t.equal(found('a').messageId, messageId, 'the record is unchanged')
})

t.test('an incident that is being sent is not covered', async t => {
  const { replica, found } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  await incidents.cover('a')
  await replica().cover('a')
  t.equal(found('a').status, 'claimed')
  await claim.end('sent')
  t.equal(found('a').messageId, claim.messageId)
})

t.test('a cleared condition can be covered again', async t => {
  const { replica, clock, found } = world()
  const incidents = replica()
  await incidents.cover('a')
  clock.now += 3 * MINUTE
  await incidents.clear('a')
  await incidents.cover('a')
  t.match(found('a'), { status: 'sent', endedAt: clock.now })
  t.equal(found('a').clearedAt, undefined)
})

t.test('a store failure is reported, and the next check repeats the step', async t => {
  const { replica, records, failures } = world()
  const incidents = replica()
  records.failing = 'before'
  t.equal(await incidents.open('a'), undefined)
  await incidents.clear('a')
  await incidents.cover('a')
  t.equal(failures.length, 3)
  records.failing = undefined
  t.ok(claimed(await incidents.open('a')))
})

t.test('an unconfirmed claim belongs to the process that wrote it', async t => {
  const { records, replica } = world()
  let isCutOff = true
  const cutting: RecordStore = {
    ...records,
    async put(...args) {
      const isWritten = await records.put(...args)
      if (isCutOff) throw new Error('cut off')
      return isWritten
    },
  }
  const incidents = replica(cutting)
  t.equal(await incidents.open('a'), undefined)
  isCutOff = false
  t.equal(await replica().open('a'), undefined, 'another replica does not get it')
  t.ok(claimed(await incidents.open('a')))
  t.equal(await incidents.open('a'), undefined, 'only once')
})

t.test('an end that the store refused is written once the store is back', async t => {
  const { replica, records, found } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  records.failing = 'before'
  await claim.end('sent')
  await incidents.renew()
  records.failing = undefined
  t.equal(found('a').status, 'claimed')
  t.equal(await incidents.open('a'), undefined, 'it is not sent again in the meantime')
  await incidents.renew()
  t.equal(found('a').status, 'sent')
  t.equal(await incidents.open('a'), 'sent')
})

t.test('an end that the store refused during a renewal is written later', async t => {
  const { replica, records, found } = world()
  let renewed: (() => void) | undefined
  let isStaged = false
  const staged: RecordStore = {
    ...records,
    async put(key, value, ...rest) {
      const isRenewal = (JSON.parse(value) as Incident).status === 'claimed'
      if (isStaged && !isRenewal) throw new Error('down')
      if (isStaged)
        await new Promise<void>(resolve => {
          renewed = resolve
        })
      return records.put(key, value, ...rest)
    },
  }
  const incidents = replica(staged)
  const claim = claimed(await incidents.open('a'))
  isStaged = true
  const renewing = incidents.renew()
  while (!renewed) await Promise.resolve()
  await claim.end('sent')
  renewed?.()
  await renewing
  t.equal(found('a').status, 'claimed')
  isStaged = false
  await incidents.renew()
  t.equal(found('a').status, 'sent')
})

t.test('a claim that is renewed and ended at the same moment is ended', async t => {
  // The renewal reads the record · the end reads it · the renewal is written · the end is refused
  // and reads again. And the other way round.
  for (const late of ['renewal', 'end']) {
    const { replica, records, found } = world()
    const held = new Map<string, () => void>()
    let isStaged = false
    const staged: RecordStore = {
      ...records,
      async put(key, value, ...rest) {
        const kind = (JSON.parse(value) as Incident).status === 'claimed' ? 'renewal' : 'end'
        if (isStaged && !held.has(kind)) await new Promise<void>(resolve => held.set(kind, resolve))
        return records.put(key, value, ...rest)
      },
    }
    const incidents = replica(staged)
    const claim = claimed(await incidents.open('a'))
    isStaged = true
    const renewed = incidents.renew()
    await eventually('the renewal never began', () => held.has('renewal'))
    const ended = claim.end('sent')
    await eventually('the end was never written', () => held.has('end'))
    const [first, second] = late === 'end' ? ['renewal', 'end'] : ['end', 'renewal']
    held.get(first as string)?.()
    await (first === 'end' ? ended : renewed)
    held.get(second as string)?.()
    await Promise.all([renewed, ended])
    t.equal(found('a').status, 'sent', `the ${late} is written second`)
    t.equal(await incidents.open('a'), 'sent')
  }
})

t.test('a record that is not an incident is replaced', async t => {
  const { replica, records } = world()
  await records.put('alerts:incident:a', 'odd', '')
  t.ok(claimed(await replica().open('a')))
})
