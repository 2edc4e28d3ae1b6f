import t from 'tap'
import { shortRun } from './short-run.js'

t.test('requests in and near the API description are answered as documented', async t => {
  t.strictSame(await shortRun(['openapi']), [])
})
