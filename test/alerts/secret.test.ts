import t from 'tap'
import { createSigningSecret, SECRET_RECORD } from '../../src/alerts/secret.js'
import { Secret } from '../../src/config/index.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { meeting, withBothStores } from './stores.js'

t.test('a configured secret is used, and none is generated', async t => {
  const records = memoryRecords()
  t.equal(await createSigningSecret({ given: new Secret('whsec_given'), records })(), 'whsec_given')
  t.equal(records.kept.size, 0)
})

t.test('without one, 32 random bytes are generated once and kept without expiry', async t => {
  const records = memoryRecords()
  const secret = createSigningSecret({ records })
  const made = await secret()
  t.match(made, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.equal(await createSigningSecret({ records })(), made)
  t.not(await createSigningSecret({ records: memoryRecords() })(), made)
  t.equal(records.kept.get(SECRET_RECORD)?.ttlSeconds, undefined)
  records.failing = 'before'
  t.equal(await secret(), made, 'the store is read once')
})

t.test('a failed read is repeated, and a write that happened despite the failure counts', async t => {
  const records = memoryRecords()
  const secret = createSigningSecret({ records })
  records.failing = 'after'
  await t.rejects(secret(), { name: 'StoreError' })
  records.failing = undefined
  t.equal(await secret(), await createSigningSecret({ records })())
})

withBothStores(t, 'two replicas that both find no secret end up with the same one', async (t, replicas) => {
  const [one, other] = meeting(replicas)
  const secrets = await Promise.all([one, other].map(records => createSigningSecret({ records })()))
  t.equal(secrets[0], secrets[1])
  t.equal((await replicas[0].get(SECRET_RECORD))?.value, secrets[0])
})
