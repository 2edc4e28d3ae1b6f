import t from 'tap'
import { type Incident, readIncident, toTell } from '../../src/alerts/incident.js'

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

const TABLE: Readonly<Record<string, [Incident | undefined, ReturnType<typeof toTell>]>> = {
  'a condition that nobody has told is told': [undefined, 'new'],
  'one that another process is telling is left to it': [
    incident({ status: 'claimed', claimedAt: NOW - 2 * MINUTE }),
    'nothing',
  ],
  'one whose teller is gone is taken over': [incident({ status: 'claimed', claimedAt: NOW - 2 * MINUTE - 1 }), 'same'],
  'one that this process has claimed without hearing of it is its own': [
    incident({ status: 'claimed', claimedAt: NOW, holder: 'self' }),
    'same',
  ],
  'one that stays is not told again, however long': [incident({ endedAt: NOW - 9 * HOUR }), 'nothing'],
  'one that came back soon is not': [incident({ endedAt: NOW - HOUR + 1, clearedAt: NOW - MINUTE }), 'nothing'],
  'one that came back after the cool-down is': [incident({ endedAt: NOW - HOUR, clearedAt: NOW - MINUTE }), 'new'],
  'one that nobody would take rests': [incident({ status: 'failed', endedAt: NOW - HOUR + 1 }), 'nothing'],
  'and is tried again after the cool-down, as the same': [incident({ status: 'failed', endedAt: NOW - HOUR }), 'same'],
  'unless it was over in between': [
    incident({ status: 'failed', endedAt: NOW - HOUR, clearedAt: NOW - MINUTE }),
    'new',
  ],
}

for (const [name, [found, expected]] of Object.entries(TABLE)) {
  t.test(name, async t => t.equal(toTell(found, { now: NOW, coolDownMs: HOUR, self: 'self' }), expected))
}

t.test('a record that is no incident is none', async t => {
  const good = incident({})
  t.strictSame(readIncident(JSON.stringify(good)), good)
  for (const odd of ['', '{', 'null', '7', '{}', '{"messageId":"a"}']) t.equal(readIncident(odd), undefined, odd)
})
