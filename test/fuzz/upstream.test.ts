import t from 'tap'
import { shortRun } from './short-run.js'

t.test('after any answer of Segmind the books are exact', async t => {
  t.strictSame(await shortRun(['upstream']), [])
})
