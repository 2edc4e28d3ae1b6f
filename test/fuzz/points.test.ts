import t from 'tap'
import { shortRun } from './short-run.js'

t.test('every spelling of points has the same result', async t => {
  t.strictSame(await shortRun(['points']), [])
})
