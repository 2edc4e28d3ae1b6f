import t from 'tap'
import { createSigningSecret, SECRET_RECORD } from '../../src/alerts/secret.js'
import { Secret } from '../../src/config.js'
import { memoryRecords } from '../support/memory-records.js'
import { meeting, withBothStores } from './stores.js'

t.test('the secret of the settings is used, and none is made', async t => {
  const records = memoryRecords()
  t.equal(await createSigningSecret({ given: new Secret('whsec_given'), records })(), 'whsec_given')
  t.equal(records.kept.size, 0)
})

t.test('without one, 32 random bytes are made once and kept for ever', async t => {
  const records = memoryRecords()
  const secret = createSigningSecret({ records })
  const made = await secret()
  t.match(made, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.equal(await createSigningSecret({ records })(), made)
  t.not(await createSigningSecret({ records: memoryRecords() })(), made)
  t.equal(records.kept.get(SECRET_RECORD)?.ttlSeconds, undefined)
  records.failing = 'before'
  t.equal(await secret(), made, 'the store is asked once')
})

t.test('a store that is down is asked again the next time, and what it did all the same counts', async t => {
  const records = memoryRecords()
  const secret = createSigningSecret({ records })
  records.failing = 'after'
  await t.rejects(secret(), { name: 'StoreError' })
  records.failing = undefined
  t.equal(await secret(), await createSigningSecret({ records })())
})

withBothStores(t, 'two replicas that both find no secret end with the same one', async (t, replicas) => {
  const [one, other] = meeting(replicas)
  const secrets = await Promise.all([one, other].map(records => createSigningSecret({ records })()))
  t.equal(secrets[0], secrets[1])
  t.equal((await replicas[0].get(SECRET_RECORD))?.value, secrets[0])
})
