import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseApiKey } from '../../src/teams/api-key.js'
import { addKey, overrideBudget, revokeKey, rotateKey, validTeams } from '../../src/teams/keys.js'
import { createRegistry } from '../../src/teams/registry.js'

const NOW = Date.parse('2026-11-27T12:00:00Z')
const DAY_MS = 86_400_000

async function withOneKey(t: Test, options: { expires?: string; note?: string; isTest?: boolean } = {}) {
  const file = join(t.testdir(), 'teams.yaml')
  const { key } = await addKey({ file, team: 'vision', nowMs: NOW, ...options })
  const registry = async () => createRegistry(validTeams(await readFile(file, 'utf8'), file))
  return { file, key, registry }
}

t.test('both keys are valid during the overlap, then only the new one', async t => {
  const { file, key, registry } = await withOneKey(t, { note: 'ui' })
  const rotated = await rotateKey({ file, keyId: key.id, overlapMs: 7 * DAY_MS, nowMs: NOW })
  t.match(rotated, { team: 'vision', oldEnds: '2026-12-04T12:00:00.000Z' })
  const { authenticate } = await registry()
  const opens = (text: string, nowMs: number) => 'caller' in authenticate(text, nowMs)
  const [old, made] = [key.text, rotated?.key.text ?? '']
  t.strictSame([opens(old, NOW), opens(made, NOW)], [true, true])
  t.strictSame([opens(old, NOW + 7 * DAY_MS - 1), opens(made, NOW + 8 * DAY_MS)], [true, true])
  t.equal(opens(old, NOW + 7 * DAY_MS), false)
  t.match(await readFile(file, 'utf8'), /note: "ui".*\n.*note: "ui"/, 'the note is kept')
})

t.test('without an overlap the old key is revoked immediately', async t => {
  const { file, key, registry } = await withOneKey(t)
  await rotateKey({ file, keyId: key.id, overlapMs: 0, nowMs: NOW })
  t.same((await registry()).authenticate(key.text, NOW), { refused: 'unauthorized' })
})

t.test('a new key has the lifetime of the old one, and an overlap does not extend the old one', async t => {
  const { file, key } = await withOneKey(t, { expires: '2026-11-30' })
  const later = NOW + DAY_MS
  const rotated = await rotateKey({ file, keyId: key.id, overlapMs: 30 * DAY_MS, nowMs: later })
  t.match(rotated, { expires: '2026-12-01', oldEnds: '2026-12-01T00:00:00.000Z' })
  const given = await rotateKey({
    file,
    keyId: rotated?.key.id ?? '',
    overlapMs: 0,
    expires: '2027-01-01',
    nowMs: later,
  })
  t.match(given, { expires: '2027-01-01' })
})

t.test('a test key is replaced by a test key', async t => {
  const { file, key } = await withOneKey(t, { isTest: true })
  const rotated = await rotateKey({ file, keyId: key.id, overlapMs: 0, nowMs: NOW })
  t.equal(parseApiKey(rotated?.key.text ?? '')?.isTest, true)
})

t.test('an unknown, revoked or expired key is not replaced, and the file is unchanged', async t => {
  const { file, key } = await withOneKey(t, { expires: '2026-11-30' })
  const before = await readFile(file, 'utf8')
  t.equal(await rotateKey({ file, keyId: 'nothing1', overlapMs: 0, nowMs: NOW }), undefined)
  t.equal(await rotateKey({ file, keyId: key.id, overlapMs: 0, nowMs: NOW + 9 * DAY_MS }), undefined)
  t.equal(await readFile(file, 'utf8'), before)
  await revokeKey(file, key.id, NOW)
  t.equal(await rotateKey({ file, keyId: key.id, overlapMs: 0, nowMs: NOW }), undefined)
})

const WRITTEN = `teams:
  # who labels
  - id: vision
    budget: { daily: 5.0, monthly: 60.0 }   # agreed in May
    keys:
      - { id: k7Fq2b9d, sha256: "${'a'.repeat(64)}" }
  - id: labs
`

t.test('an override applies until its end, for each amount it contains, and comments are kept', async t => {
  const file = join(t.testdir(), 'teams.yaml')
  await writeFile(file, WRITTEN)
  t.equal(await overrideBudget(file, 'vision', { daily: '9.5', until: '2026-11-28T00:00:00.000Z' }), true)
  const text = await readFile(file, 'utf8')
  t.match(text, '# who labels')
  t.match(text, '# agreed in May')
  t.match(text, 'override: { daily: 9.5, until: 2026-11-28T00:00:00.000Z }')
  const registry = createRegistry(validTeams(text, file))
  const budgetAt = (nowMs: number) => registry.teams(nowMs)[0]?.budget
  t.same(budgetAt(NOW), { daily: 9_500_000_000, monthly: 60_000_000_000 })
  t.same(budgetAt(Date.parse('2026-11-28T00:00:00Z')), { daily: 5_000_000_000, monthly: 60_000_000_000 })
  t.equal(await overrideBudget(file, 'vision', undefined), true)
  t.equal((await readFile(file, 'utf8')).replace(/ +#/g, ' #'), WRITTEN.replace(/ +#/g, ' #'))
})

t.test('an override works for a team without a budget, and not for an unknown team', async t => {
  const file = join(t.testdir(), 'teams.yaml')
  await writeFile(file, WRITTEN)
  t.equal(await overrideBudget(file, 'labs', { monthly: '0', until: '2026-11-28T00:00:00Z' }), true)
  const registry = createRegistry(validTeams(await readFile(file, 'utf8'), file))
  t.same(registry.teams(NOW)[1]?.budget, { monthly: 0 })
  t.equal(await overrideBudget(file, 'labs', undefined), true)
  t.notMatch(await readFile(file, 'utf8'), /id: labs\n +budget/)
  t.equal(await overrideBudget(file, 'unknown', undefined), false)
})

t.test('authentication returns the budget in effect at that time', async t => {
  const { file, key, registry } = await withOneKey(t)
  await overrideBudget(file, 'vision', { daily: '1', until: '2026-11-28T00:00:00Z' })
  const { authenticate } = await registry()
  const budgetAt = (nowMs: number) => {
    const outcome = authenticate(key.text, nowMs)
    return 'caller' in outcome ? outcome.caller.team.budget : 'refused'
  }
  t.same(budgetAt(NOW), { daily: 1_000_000_000 })
  t.same(budgetAt(NOW + DAY_MS), {}, 'and without one afterwards')
})
