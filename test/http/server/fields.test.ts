import t from 'tap'
import { flag, parseBody, parseQuery, wholeNumberUpTo } from '../../../src/http/server/fields.js'

const HOURS = { hours: wholeNumberUpTo(48) }

t.test('a query with an unknown parameter is refused by a sentence about the query', t => {
  t.throws(() => parseQuery({ hour: '3' }, HOURS), {
    code: 'invalid_request',
    message: 'Unknown query parameter: hour. Accepted: hours.',
  })
  t.strictSame(parseQuery(Object.assign(Object.create(null), { hours: '3' }), HOURS), { hours: 3 })
  t.strictSame(parseQuery(undefined, HOURS), {})
  t.end()
})

t.test('a query parameter with a bad or repeated value is refused by name', t => {
  for (const hours of ['49', '0', '1.5', '', ['1', '2']])
    t.throws(() => parseQuery({ hours }, HOURS), {
      code: 'invalid_parameter',
      message: 'hours takes one whole number from 1 to 48.',
    })
  t.end()
})

t.test(
  'a body with an unknown field, or of another kind than an object, is refused by a sentence about the body',
  t => {
    t.throws(() => parseBody({ tests: true }, { test: flag }), { message: 'Unknown field: tests. Accepted: test.' })
    for (const body of [[], 'text', null]) t.throws(() => parseBody(body, {}), { message: /^The body must be/ })
    t.strictSame(parseBody(undefined, { test: flag }), {})
    t.end()
  },
)
