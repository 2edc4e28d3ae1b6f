import t from 'tap'
import { SharedKey } from '../../src/segmind/shared-key.js'

t.test('the state follows the last response that shows whether the key is valid', async t => {
  const changes: string[] = []
  const key = new SharedKey(state => changes.push(state))
  t.equal(key.state, undefined)
  key.callEnded('upstream_timeout')
  t.equal(key.state, undefined)
  key.callEnded('upstream_unauthorized')
  key.callEnded('upstream_unauthorized')
  t.equal(key.state, 'refused')
  for (const code of ['upstream_failed', 'upstream_unavailable', 'upstream_busy']) key.callEnded(code)
  t.equal(key.state, 'refused', 'an outage does not change the state')
  key.callEnded('upstream_rejected')
  t.equal(key.state, 'accepted')
  key.callEnded('ok')
  t.strictSame(changes, ['refused', 'accepted'])
})

t.test('a key that may read the balance but not call the model stays refused', async t => {
  const changes: string[] = []
  const key = new SharedKey(state => changes.push(state))
  key.balanceRequestEnded('ok')
  key.callEnded('upstream_unauthorized')
  key.balanceRequestEnded('ok')
  key.balanceRequestEnded('upstream_timeout')
  t.equal(key.state, 'refused')
  key.callEnded('ok')
  key.balanceRequestEnded('upstream_unauthorized')
  t.equal(key.state, 'refused', 'a refused balance request counts while there are no calls')
  key.balanceRequestEnded('ok')
  t.strictSame(changes, ['accepted', 'refused', 'accepted', 'refused', 'accepted'])
})
