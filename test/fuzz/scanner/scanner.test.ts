import t from 'tap'
import { compare } from './compare.js'

/** Uploads of `npm test`. README.md has the long run. */
const CASES = 5_000

t.test('the scanner reads every upload as the parser does', async t => {
  const { differences, readers, accepted } = await compare({ from: 1, cases: CASES })
  t.strictSame(
    differences.map(({ seed }) => `node .build/test/fuzz/scanner/run.js --seed ${seed}`),
    [],
  )
  t.ok(readers.scanner > CASES / 4 && readers.parser > CASES / 4, `both read uploads: ${JSON.stringify(readers)}`)
  t.ok(accepted > CASES / 4, `${accepted} uploads were accepted`)
})
