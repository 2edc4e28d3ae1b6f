import t from 'tap'
import { SharedKey } from '../../src/segmind/shared-key.js'

t.test('the key is what the last telling answer said of it, and unknown before', async t => {
  const changes: string[] = []
  const key = new SharedKey(state => changes.push(state))
  t.equal(key.state, undefined)
  key.called('upstream_timeout')
  t.equal(key.state, undefined)
  key.called('upstream_unauthorized')
  key.called('upstream_unauthorized')
  t.equal(key.state, 'refused')
  for (const code of ['upstream_failed', 'upstream_unavailable', 'upstream_busy']) key.called(code)
  t.equal(key.state, 'refused', 'trouble says nothing about the key')
  key.called('upstream_rejected')
  t.equal(key.state, 'accepted')
  key.called('ok')
  t.strictSame(changes, ['refused', 'accepted'])
})

t.test('a key that may ask for the balance but not for the model is refused, and does not flap', async t => {
  const changes: string[] = []
  const key = new SharedKey(state => changes.push(state))
  key.asked('ok')
  key.called('upstream_unauthorized')
  key.asked('ok')
  key.asked('upstream_timeout')
  t.equal(key.state, 'refused')
  key.called('ok')
  key.asked('upstream_unauthorized')
  t.equal(key.state, 'refused', 'the balance says so first while nobody calls')
  key.asked('ok')
  t.strictSame(changes, ['accepted', 'refused', 'accepted', 'refused', 'accepted'])
})
