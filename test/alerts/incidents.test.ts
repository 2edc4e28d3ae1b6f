import t from 'tap'
import type { Incident } from '../../src/alerts/incident.js'
import { type Claim, Incidents } from '../../src/alerts/incidents.js'
import type { RecordStore } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'
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
      onStoreFailure: error => failures.push(error),
    })
  const found = (key: string): Incident => JSON.parse(records.kept.get(`alerts:incident:${key}`)?.value ?? 'null')
  return { records, clock, failures, replica, found }
}

function claimed(opened: Claim | 'told' | undefined): Claim {
  if (opened === undefined || opened === 'told') throw new Error(`not claimed: ${opened}`)
  return opened
}

withBothStores(t, 'of two replicas that see a condition at the same moment one tells it', async (t, replicas) => {
  const { replica } = world()
  const [one, other] = meeting(replicas).map(replica) as [Incidents, Incidents]
  const opened = await Promise.all([one.open('a'), other.open('a')])
  const claims = opened.filter(claim => claim !== undefined)
  t.equal(claims.length, 1)
  t.strictSame(await Promise.all([one.open('a'), other.open('a')]), [undefined, undefined], 'and nobody while it does')
  await claimed(claims[0]).end('sent')
  t.strictSame(await Promise.all([one.open('a'), other.open('a')]), ['told', 'told'])
})

withBothStores(t, 'a claim whose process died is taken over by one of the others', async (t, replicas) => {
  const { replica, clock } = world()
  const dead = claimed(await replica(replicas[0]).open('a'))
  clock.now += 2 * MINUTE
  t.equal(await replica(replicas[1]).open('a'), undefined, 'it may still be alive')
  clock.now += 1
  const [one, other] = meeting(replicas).map(replica) as [Incidents, Incidents]
  const claims = (await Promise.all([one.open('a'), other.open('a')])).filter(claim => claim !== undefined)
  t.equal(claims.length, 1)
  const successor = claimed(claims[0])
  t.equal(successor.messageId, dead.messageId, 'with the same message id: it may have been delivered')
  t.equal(successor.openedAt, dead.openedAt)
  await dead.end('sent')
  t.equal(await replica(replicas[1]).open('a'), undefined, 'what the dead one says no longer counts')
})

t.test('who says that it is at it keeps its claim, however long it takes', async t => {
  const { replica, clock } = world()
  const one = replica()
  const claim = claimed(await one.open('a'))
  for (let minutes = 0; minutes < 20; minutes++) {
    clock.now += MINUTE
    await one.keep()
    t.equal(await replica().open('a'), undefined)
  }
  t.notOk(claim.lost.aborted)
})

t.test('who was not heard of for long learns that its claim is lost', async t => {
  const { replica, clock, found } = world()
  const one = replica()
  const other = replica()
  const claim = claimed(await one.open('a'))
  clock.now += 3 * MINUTE
  const taken = claimed(await other.open('a'))
  await one.keep()
  t.ok(claim.lost.aborted)
  await claim.end('released')
  await taken.end('sent')
  t.match(found('a'), { status: 'sent', messageId: claim.messageId })
  await one.keep()
  t.equal(await one.open('a'), 'told')
})

t.test('what is released is told by another at once', async t => {
  const { replica } = world()
  const claim = claimed(await replica().open('a'))
  const other = replica()
  t.equal(await other.open('a'), undefined)
  await claim.end('released')
  t.equal(claimed(await other.open('a')).messageId, claim.messageId)
})

t.test('what was over and comes back within the cool-down is told when that has passed, as something new', async t => {
  const { replica, clock, found } = world()
  const incidents = replica()
  const first = claimed(await incidents.open('a'))
  await first.end('sent')
  clock.now += 3 * MINUTE
  await incidents.over('a')
  t.equal(found('a').clearedAt, clock.now)
  clock.now = NOW + HOUR - 1
  t.equal(await incidents.open('a'), 'told')
  clock.now = NOW + HOUR
  const second = claimed(await incidents.open('a'))
  t.not(second.messageId, first.messageId)
  t.equal(second.openedAt, clock.now)
})

t.test('a condition is not over as long as another replica sees it', async t => {
  const { replica, clock, found } = world()
  const seeing = replica()
  const other = replica()
  await claimed(await seeing.open('a')).end('sent')
  for (let minutes = 0; minutes < 10; minutes++) {
    clock.now += MINUTE
    await seeing.open('a')
    await other.over('a')
    t.equal(found('a').clearedAt, undefined)
  }
  clock.now += 2 * MINUTE + 1
  await other.over('a')
  t.equal(found('a').clearedAt, clock.now)
})

t.test('it is written down once a minute that a condition holds, for another 45 days', async t => {
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

t.test('what nobody would take is tried again after the cool-down, under the same id', async t => {
  const { replica, clock } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  await claim.end('failed')
  t.equal(await incidents.open('a'), undefined)
  clock.now += HOUR
  t.equal(claimed(await incidents.open('a')).messageId, claim.messageId)
})

t.test('what died untold and is over is forgotten', async t => {
  const { replica, clock, records } = world()
  await replica().open('a')
  clock.now += 2 * MINUTE
  await replica().over('a')
  t.equal(records.kept.size, 1, 'its teller may live')
  clock.now += 1
  await replica().over('a')
  t.equal(records.kept.size, 0)
})

t.test('what is over and was never told leaves nothing behind', async t => {
  const { replica, records } = world()
  await replica().over('a')
  t.equal(records.kept.size, 0)
})

t.test('what is covered by another message counts as told', async t => {
  const { replica, found } = world()
  const incidents = replica()
  await incidents.cover('a')
  t.equal(await incidents.open('a'), 'told')
  const { messageId } = found('a')
  await incidents.cover('a')
  t.equal(found('a').messageId, messageId, 'and is left as it is')
})

t.test('what is being told, here or elsewhere, is not covered', async t => {
  const { replica, found } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  await incidents.cover('a')
  await replica().cover('a')
  t.equal(found('a').status, 'claimed')
  await claim.end('sent')
  t.equal(found('a').messageId, claim.messageId)
})

t.test('what was over is covered anew', async t => {
  const { replica, clock, found } = world()
  const incidents = replica()
  await incidents.cover('a')
  clock.now += 3 * MINUTE
  await incidents.over('a')
  await incidents.cover('a')
  t.match(found('a'), { status: 'sent', endedAt: clock.now })
  t.equal(found('a').clearedAt, undefined)
})

t.test('a store that is down changes nothing and is told of; the next look tells it', async t => {
  const { replica, records, failures } = world()
  const incidents = replica()
  records.failing = 'before'
  t.equal(await incidents.open('a'), undefined)
  await incidents.over('a')
  await incidents.cover('a')
  t.equal(failures.length, 3)
  records.failing = undefined
  t.ok(claimed(await incidents.open('a')))
})

t.test('a claim that the store took without saying so is this process’s own', async t => {
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
  t.equal(await replica().open('a'), undefined, 'not another one’s')
  t.ok(claimed(await incidents.open('a')))
  t.equal(await incidents.open('a'), undefined, 'once')
})

t.test('an end that the store does not take is written when it is back', async t => {
  const { replica, records, found } = world()
  const incidents = replica()
  const claim = claimed(await incidents.open('a'))
  records.failing = 'before'
  await claim.end('sent')
  await incidents.keep()
  records.failing = undefined
  t.equal(found('a').status, 'claimed')
  t.equal(await incidents.open('a'), undefined, 'it is not told twice meanwhile')
  await incidents.keep()
  t.equal(found('a').status, 'sent')
  t.equal(await incidents.open('a'), 'told')
})

t.test('an end that the store does not take while the claim is renewed is written later, too', async t => {
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
  const keeping = incidents.keep()
  while (!renewed) await Promise.resolve()
  await claim.end('sent')
  renewed?.()
  await keeping
  t.equal(found('a').status, 'claimed')
  isStaged = false
  await incidents.keep()
  t.equal(found('a').status, 'sent')
})

t.test('a claim that is renewed and ended at the same moment is ended', async t => {
  // The renewal has read the record · the end reads it · the renewal is written · the end, refused, has to read again. And the other way round.
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
    const renewed = incidents.keep()
    while (!held.has('renewal')) await Promise.resolve()
    const ended = claim.end('sent')
    while (!held.has('end')) await Promise.resolve()
    const [first, second] = late === 'end' ? ['renewal', 'end'] : ['end', 'renewal']
    held.get(first as string)?.()
    await (first === 'end' ? ended : renewed)
    held.get(second as string)?.()
    await Promise.all([renewed, ended])
    t.equal(found('a').status, 'sent', `${late} comes late`)
    t.equal(await incidents.open('a'), 'told')
  }
})

t.test('a record that is no incident is replaced', async t => {
  const { replica, records } = world()
  await records.put('alerts:incident:a', 'odd', '')
  t.ok(claimed(await replica().open('a')))
})
