import t from 'tap'
import type { AlertFacts } from '../../src/alerts/alerts.js'
import { SECRET_RECORD } from '../../src/alerts/secret.js'
import { startAlerts } from '../../src/alerts/start-alerts.js'
import { Secret } from '../../src/config.js'
import { memoryRecords } from '../support/memory-records.js'
import { isSigned, startReceiver } from './receiver.js'

const REFUSED: AlertFacts = {
  budgets: async () => [],
  credits: async () => ({ burn: {}, state: undefined, drifts: [] }),
  sharedKey: () => 'refused',
}

t.test('alerts go where the settings say, signed with their secret or the one in the store', async t => {
  const given = `whsec_${Buffer.alloc(32, 3).toString('base64')}`
  for (const webhookSecret of [new Secret(given), undefined]) {
    const receiver = await startReceiver(t)
    const records = memoryRecords()
    const delivered = new Promise<void>(resolve => {
      const settings = { webhookUrl: new Secret(receiver.url), webhookSecret }
      const alerts = startAlerts(settings, { facts: REFUSED, records, timeZone: 'UTC', onDelivered: () => resolve() })
      t.teardown(() => alerts.close())
    })
    await delivered
    const secret = webhookSecret ? given : (records.kept.get(SECRET_RECORD)?.value ?? '')
    t.ok(await isSigned(receiver.received[0]!, secret))
  }
})

t.test('without an address there are none', async t => {
  const records = memoryRecords()
  const alerts = startAlerts({}, { facts: REFUSED, records, timeZone: 'UTC' })
  await alerts.look()
  await alerts.close()
  t.equal(records.kept.size, 0)
})
