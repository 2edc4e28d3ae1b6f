import t from 'tap'
import { shortRun } from './short-run.js'

t.test('odd forms and JSON bodies are answered as documented', async t => {
  t.strictSame(await shortRun(['multipart', 'json']), [])
})
