import t from 'tap'
import { shortRun } from './short-run.js'

t.test('odd headers are answered as documented', async t => {
  t.strictSame(await shortRun(['headers']), [])
})
