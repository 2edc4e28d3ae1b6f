import t from 'tap'
import { EMPTY_TEAMS, withKey, withRevokedKey } from '../../src/teams/teams-edit.js'
import { parseTeams } from '../../src/teams/teams-file.js'

const SHA = 'ab'.repeat(32)
const OTHER = 'cd'.repeat(32)
const KEY = { id: 'abcdefgh', sha256: SHA, created: '2026-11-22' }

function keysOf(source: string) {
  const parsed = parseTeams(source)
  if ('problems' in parsed) throw new Error(`${parsed.problems.join('\n')}\n${source}`)
  return Object.fromEntries(parsed.teams.map(({ team, keys }) => [team.id, keys.map(key => key.id)]))
}

const COMMENTED = `# Our teams.

teams:
  # The first team.
  - id: vision # a label
    budget: { daily: 5.0 } # credits

    keys:
      # The labelling tool.
      - { id: k7Fq2b9d, sha256: "${OTHER}", created: 2026-11-01, note: "a, b: c # d" } # soon over
  - id: maps

# The end.
`

t.test('a first key creates a readable file', async t => {
  t.equal(
    withKey(
      EMPTY_TEAMS,
      { id: 'vision', name: 'Vision: research' },
      { ...KEY, expires: '2027-11-01', note: 'labelling # ui' },
    ),
    `# Teams and their keys. A running gateway applies a change within two seconds.
# It rejects a file that contains an error as a whole.
# Create keys with: segmind-gateway keys create <team>
teams:
  - id: vision
    name: "Vision: research"
    keys:
      - { id: abcdefgh, sha256: "${SHA}", created: 2026-11-22, expires: 2027-11-01, note: "labelling # ui" }
`,
  )
})

t.test('another key adds one line and keeps comments and everything else', async t => {
  const changed = withKey(COMMENTED, { id: 'vision' }, KEY)
  const lines = changed.split('\n')
  const added = `      - { id: abcdefgh, sha256: "${SHA}", created: 2026-11-22 }`
  t.equal(lines.filter(line => line === added).length, 1)
  t.equal(lines.filter(line => line !== added).join('\n'), COMMENTED)
  t.strictSame(keysOf(changed), { vision: ['k7Fq2b9d', 'abcdefgh'], maps: [] })
})

t.test('a team without keys, with an empty list or with an empty member gets its first key', async t => {
  for (const keys of ['', '    keys: []\n', '    keys:\n', '    keys: # none yet\n']) {
    const source = `teams:\n  - id: maps\n${keys}`
    t.strictSame(keysOf(withKey(source, { id: 'maps' }, KEY)), { maps: ['abcdefgh'] }, JSON.stringify(keys))
  }
  t.strictSame(keysOf(withKey('{ teams: [{ id: maps, keys: [] }] }', { id: 'maps' }, KEY)), { maps: ['abcdefgh'] })
})

t.test('a new team is added at the end', async t => {
  const changed = withKey(COMMENTED, { id: 'robots', name: 'Robots' }, KEY)
  t.strictSame(keysOf(changed), { vision: ['k7Fq2b9d'], maps: [], robots: ['abcdefgh'] })
  t.match(changed, '# Our teams.')
  t.match(changed, '# The end.')
})

t.test('ids and notes that other YAML parsers would read as numbers or booleans are quoted', async t => {
  const changed = withKey(
    EMPTY_TEAMS,
    { id: '007', name: 'no' },
    { ...KEY, id: '1e234567', note: 'line\nbreak "quoted"' },
  )
  t.match(changed, 'id: "007"')
  t.match(changed, 'name: "no"')
  t.match(changed, 'id: "1e234567"')
  const parsed = parseTeams(changed)
  t.match(parsed, {
    teams: [{ team: { id: '007', name: 'no' }, keys: [{ id: '1e234567', note: 'line\nbreak "quoted"' }] }],
  })
  t.match(withKey(EMPTY_TEAMS, { id: 'true' }, KEY), 'id: "true"')
})

t.test('a revoked key keeps its line and gets the date', async t => {
  const changed = withRevokedKey(COMMENTED, 'k7Fq2b9d', '2026-11-22')
  t.equal(changed, COMMENTED.replace('note: "a, b: c # d" }', 'note: "a, b: c # d", revoked: 2026-11-22 }'))
  t.match(parseTeams(changed), { teams: [{ keys: [{ id: 'k7Fq2b9d', revoked: true }] }, {}] })
})

t.test('only the key with the given id is revoked', async t => {
  const source = withKey(
    withKey(COMMENTED, { id: 'maps' }, KEY),
    { id: 'maps' },
    { ...KEY, id: '12345678', sha256: '0'.repeat(64) },
  )
  const parsed = parseTeams(withRevokedKey(source, '12345678', '2026-11-22'))
  if ('problems' in parsed) throw new Error(parsed.problems.join())
  const revoked = parsed.teams.flatMap(entry => entry.keys.filter(key => key.revoked).map(key => key.id))
  t.strictSame(revoked, ['12345678'])
})
