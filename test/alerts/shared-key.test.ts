import t from 'tap'
import { watchSharedKey } from '../../src/alerts/shared-key.js'

t.test('the key is what the last telling answer said of it, and unknown before', async t => {
  const changes: string[] = []
  const watch = watchSharedKey(state => changes.push(state))
  t.equal(watch.state(), undefined)
  watch.answered('upstream_timeout')
  t.equal(watch.state(), undefined)
  watch.answered('upstream_unauthorized')
  watch.answered('upstream_unauthorized')
  t.equal(watch.state(), 'refused')
  for (const code of ['upstream_failed', 'upstream_unavailable', 'upstream_busy'] as const) watch.answered(code)
  t.equal(watch.state(), 'refused', 'trouble says nothing about the key')
  watch.answered('upstream_rejected')
  t.equal(watch.state(), 'accepted')
  watch.answered('ok')
  t.strictSame(changes, ['refused', 'accepted'])
})
