import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addKey, revokeKey } from '../../src/teams/keys.js'
import { createRegistry } from '../../src/teams/registry.js'
import { parseTeams } from '../../src/teams/teams-file.js'

const NOW = Date.parse('2026-11-22T15:00:00Z')

function fileFor(t: { teardown(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return join(folder, 'data', 'teams.yaml')
}

function authenticate(file: string, text: string) {
  const parsed = parseTeams(readFileSync(file, 'utf8'))
  if ('problems' in parsed) throw new Error(parsed.problems.join('\n'))
  return createRegistry(parsed.teams).authenticate(text, NOW)
}

t.test('an added key is accepted, a revoked one is not, and other keys are unaffected', async t => {
  const file = fileFor(t)
  const first = await addKey({ file, team: 'vision', name: 'Vision', nowMs: NOW })
  const second = await addKey({ file, team: 'vision', expires: '2027-01-01', note: 'ui', nowMs: NOW })
  t.equal(first.isNewTeam, true)
  t.equal(second.isNewTeam, false)
  t.match(authenticate(file, first.key.text), {
    caller: { team: { id: 'vision', name: 'Vision' }, keyId: first.key.id },
  })
  t.equal(await revokeKey(file, first.key.id, NOW), 'revoked')
  t.strictSame(authenticate(file, first.key.text), { refused: 'unauthorized' })
  t.match(authenticate(file, second.key.text), { caller: { keyId: second.key.id } })
  t.match(readFileSync(file, 'utf8'), 'revoked: 2026-11-22')
  t.equal(await revokeKey(file, first.key.id, NOW), 'revoked before')
  t.equal(await revokeKey(file, 'unknown0', NOW), 'unknown')
})

t.test('the file does not contain the text of a key', async t => {
  const file = fileFor(t)
  const { key } = await addKey({ file, team: 'vision', nowMs: NOW })
  t.notMatch(readFileSync(file, 'utf8'), key.text.slice(13))
  t.match(readFileSync(file, 'utf8'), key.sha256)
})

t.test('keys added concurrently are all in the file', async t => {
  const file = fileFor(t)
  const made = await Promise.all(
    Array.from({ length: 8 }, (_, index) => addKey({ file, team: `team-${index % 3}`, nowMs: NOW })),
  )
  for (const { key } of made) t.match(authenticate(file, key.text), { caller: { keyId: key.id } })
})

t.test('a file with errors is not changed', async t => {
  const file = fileFor(t)
  await addKey({ file, team: 'vision', nowMs: NOW })
  const bad = `${readFileSync(file, 'utf8')}  - id: BAD\n  - id: WORSE\n`
  writeFileSync(file, bad)
  await t.rejects(addKey({ file, team: 'maps', nowMs: NOW }), {
    message: /has errors:\n.*teams\[1\].*\n.*teams\[2\]/,
  })
  await t.rejects(revokeKey(file, 'abcdefgh', NOW), { message: /has errors/ })
  t.equal(readFileSync(file, 'utf8'), bad)
})

t.test('input that would make the file invalid is rejected before anything is written', async t => {
  const file = fileFor(t)
  for (const team of ['Vision', '', 'a b', '../x', 'x'.repeat(33)]) {
    await t.rejects(addKey({ file, team, nowMs: NOW }), { message: /a team id consists of 1 to 32/ }, team)
  }
  await t.rejects(addKey({ file, team: 'a', note: 'x'.repeat(201), nowMs: NOW }), {
    message: /note: must be at most 200/,
  })
  await t.rejects(addKey({ file, team: 'a', name: 'two\nlines', nowMs: NOW }), { message: /name: must be 1 to 100/ })
  t.throws(() => readFileSync(file), { code: 'ENOENT' })
})
