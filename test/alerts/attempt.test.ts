import t from 'tap'
import { describeAttempt, isAccepted, problemOf, retryAfterMs } from '../../src/alerts/attempt.js'
import { StoreError } from '../../src/contracts/store.js'

t.test('only a 2xx response accepts the message', async t => {
  for (const status of [200, 201, 202, 204, 299]) t.ok(isAccepted({ status, durationMs: 1 }), `${status}`)
  for (const status of [100, 199, 300, 301, 304, 400, 410, 500])
    t.notOk(isAccepted({ status, durationMs: 1 }), `${status}`)
  t.notOk(isAccepted({ problem: 'ECONNRESET', durationMs: 1 }))
})

t.test('an attempt is described in words', async t => {
  t.equal(describeAttempt({ status: 404, durationMs: 1 }), 'answered 404 Not Found')
  t.equal(describeAttempt({ status: 599, durationMs: 1 }), 'answered 599')
  t.equal(describeAttempt({ problem: 'timeout', durationMs: 1 }), 'did not answer in time')
  t.equal(describeAttempt({ problem: 'ECONNREFUSED', durationMs: 1 }), 'could not be reached (ECONNREFUSED)')
})

t.test('Retry-After is seconds or a date', async t => {
  const now = Date.parse('2026-11-27T10:00:00Z')
  t.equal(retryAfterMs('30', now), 30_000)
  t.equal(retryAfterMs('Fri, 27 Nov 2026 10:01:00 GMT', now), 60_000)
  t.equal(retryAfterMs('Fri, 27 Nov 2026 09:00:00 GMT', now), 0)
  for (const odd of [undefined, '', 'soon', ['1', '2']]) t.equal(retryAfterMs(odd, now), undefined, `${odd}`)
})

t.test('a failure is reported by its code only, because its message may contain the address', async t => {
  const failure = (code: unknown) => Object.assign(new Error('connect to hooks.example.com/HIDDEN failed'), { code })
  t.equal(problemOf(failure('ECONNREFUSED')), 'ECONNREFUSED')
  t.equal(problemOf(failure('UND_ERR_HEADERS_TIMEOUT')), 'timeout')
  t.equal(problemOf(failure('http://HIDDEN')), 'unknown failure')
  t.equal(problemOf(failure(undefined)), 'unknown failure')
  t.equal(problemOf(new DOMException('HIDDEN', 'TimeoutError')), 'timeout')
  t.match(problemOf(new StoreError('HIDDEN')), /^the store/)
})
