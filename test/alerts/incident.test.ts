import t from 'tap'
import { type Incident, nextStep, readIncident } from '../../src/alerts/incident.js'

const NOW = 1_764_547_200_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE

function incident(fields: Partial<Incident>): Incident {
  const then = NOW - 10 * HOUR
  return {
    messageId: 'msg_1',
    openedAt: then,
    status: 'sent',
    holder: 'other',
    claimedAt: then,
    seenAt: then,
    ...fields,
  }
}

const TABLE: Readonly<Record<string, [Incident | undefined, ReturnType<typeof nextStep>]>> = {
  'a condition without an incident is sent': [undefined, 'new'],
  'an incident that another process is sending is left to it': [
    incident({ status: 'claimed', claimedAt: NOW - 2 * MINUTE }),
    'nothing',
  ],
  'an incident with a stale claim is taken over': [
    incident({ status: 'claimed', claimedAt: NOW - 2 * MINUTE - 1 }),
    'same',
  ],
  'an incident that this process claimed without confirmation is sent by it': [
    incident({ status: 'claimed', claimedAt: NOW, holder: 'self' }),
    'same',
  ],
  'a condition that lasts is not sent again': [incident({ endedAt: NOW - 9 * HOUR }), 'nothing'],
  'a condition that returns within the cool-down is not sent': [
    incident({ endedAt: NOW - HOUR + 1, clearedAt: NOW - MINUTE }),
    'nothing',
  ],
  'a condition that returns after the cool-down is sent as new': [
    incident({ endedAt: NOW - HOUR, clearedAt: NOW - MINUTE }),
    'new',
  ],
  'a failed incident is not sent during the cool-down': [
    incident({ status: 'failed', endedAt: NOW - HOUR + 1 }),
    'nothing',
  ],
  'a failed incident is sent again after the cool-down under the same id': [
    incident({ status: 'failed', endedAt: NOW - HOUR }),
    'same',
  ],
  'a failed incident that cleared in between is sent as new': [
    incident({ status: 'failed', endedAt: NOW - HOUR, clearedAt: NOW - MINUTE }),
    'new',
  ],
}

for (const [name, [found, expected]] of Object.entries(TABLE)) {
  t.test(name, async t => t.equal(nextStep(found, { now: NOW, coolDownMs: HOUR, self: 'self' }), expected))
}

t.test('a record that is not an incident is ignored', async t => {
  const good = incident({})
  t.strictSame(readIncident(JSON.stringify(good)), good)
  for (const odd of ['', '{', 'null', '7', '{}', '{"messageId":"a"}']) t.equal(readIncident(odd), undefined, odd)
})
