import t from 'tap'
import { shortRun } from './short-run.js'

t.test('a teams file loads or is refused with its problems, and the last good one stays', async t => {
  t.strictSame(await shortRun(['teams']), [])
})
