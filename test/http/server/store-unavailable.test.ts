import t from 'tap'
import { GatewayError } from '../../../src/contracts/errors.js'
import { StoreError } from '../../../src/contracts/store.js'
import { orStoreUnavailable } from '../../../src/http/server/store-unavailable.js'

t.test('a failure of the store is store_unavailable, with the time to wait', async t => {
  const cause = new StoreError('Redis: down')
  await t.rejects(orStoreUnavailable(Promise.reject(cause), 'The history cannot be read'), {
    code: 'store_unavailable',
    message: 'The history cannot be read: the store does not respond. Try again later.',
    retryAfterSeconds: 5,
    cause,
  })
})

t.test('every other error is passed on, so that a bug is not reported as a failure of the store', async t => {
  for (const error of [new GatewayError('not_found', 'No.'), new TypeError('a bug')])
    await t.rejects(orStoreUnavailable(Promise.reject(error), 'The history cannot be read'), error)
  t.equal(await orStoreUnavailable(Promise.resolve(7), 'The history cannot be read'), 7)
})
