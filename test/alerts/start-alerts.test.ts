import t from 'tap'
import type { AlertFacts } from '../../src/alerts/alerts.js'
import { SECRET_RECORD } from '../../src/alerts/secret.js'
import { startAlerts } from '../../src/alerts/start-alerts.js'
import { Secret } from '../../src/config/index.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { isSigned, startReceiver } from './receiver.js'

const REFUSED: AlertFacts = {
  budgets: async () => [],
  credits: async () => ({ burn: {}, state: undefined, drifts: [], implausible: [] }),
  sharedKey: () => 'refused',
}

const observer = { storeFailed: () => {}, alertDelivered: () => {}, alertRetried: () => {}, alertFailed: () => {} }

t.test('alerts are posted to the configured address, signed with the configured or the stored secret', async t => {
  const given = `whsec_${Buffer.alloc(32, 3).toString('base64')}`
  for (const webhookSecret of [new Secret(given), undefined]) {
    const receiver = await startReceiver(t)
    const records = memoryRecords()
    const delivered = new Promise<void>(resolve => {
      const settings = { webhookUrl: new Secret(receiver.url), webhookSecret }
      const alerts = startAlerts(settings, {
        facts: REFUSED,
        records,
        timeZone: 'UTC',
        observer: { ...observer, alertDelivered: () => resolve() },
      })
      t.teardown(() => alerts.close())
    })
    await delivered
    const secret = webhookSecret ? given : (records.kept.get(SECRET_RECORD)?.value ?? '')
    t.ok(await isSigned(receiver.received[0]!, secret))
  }
})

t.test('without an address no alerts are sent', async t => {
  const records = memoryRecords()
  const alerts = startAlerts({}, { facts: REFUSED, records, timeZone: 'UTC', observer })
  await alerts.check()
  await alerts.close()
  t.equal(records.kept.size, 0)
})
