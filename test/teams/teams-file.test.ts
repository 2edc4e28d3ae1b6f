import t from 'tap'
import { parseTeams } from '../../src/teams/teams-file.js'

const SHA = 'ab'.repeat(32)

function teamsOf(source: string) {
  const parsed = parseTeams(source)
  if ('problems' in parsed) throw new Error(parsed.problems.join('\n'))
  return parsed.teams
}

function problemsOf(source: string): string[] {
  const parsed = parseTeams(source)
  return 'problems' in parsed ? parsed.problems : []
}

t.test('the documented example is read with every member', async t => {
  const source = `teams:
  - id: vision            # [a-z0-9-]{1,32}; the metric label
    name: Vision research
    protected: true       # may spend the reserve
    limits: { requests_per_minute: 300, reads_per_minute: 900, concurrent: 8, weight: 2 }
    budget: { daily: 5.0, monthly: 60.0, alert_at: [0.8, 1.0] }   # credits
    keys:
      - { id: k7Fq2b9d, sha256: "${SHA.toUpperCase()}", created: 2026-11-01, expires: 2027-11-01, note: labelling ui }
`
  t.strictSame(teamsOf(source), [
    {
      team: {
        id: 'vision',
        name: 'Vision research',
        protected: true,
        disabled: false,
        limits: { requestsPerMinute: 300, readsPerMinute: 900, weight: 2, concurrent: 8 },
        budget: { daily: 5e9, monthly: 60e9 },
        alertAt: [0.8, 1],
      },
      keys: [
        {
          id: 'k7Fq2b9d',
          sha256: SHA,
          created: '2026-11-01',
          expires: '2027-11-01',
          note: 'labelling ui',
          revoked: false,
        },
      ],
    },
  ])
})

t.test('a team requires only an id', async t => {
  t.strictSame(teamsOf('teams: [{ id: a }]'), [
    {
      team: {
        id: 'a',
        name: 'a',
        protected: false,
        disabled: false,
        limits: { requestsPerMinute: 600, readsPerMinute: 6000, weight: 1 },
      },
      keys: [],
    },
  ])
  t.strictSame(teamsOf('teams: [{ id: a }]'), teamsOf('teams:\n- id: a\n  name:\n  limits:\n  budget: \n  keys:\n'))
  t.strictSame(teamsOf('teams: []'), [])
})

t.test('every member of budget and limits is optional', async t => {
  const [daily, none, weight] = teamsOf(
    'teams: [{ id: a, budget: { daily: 0 } }, { id: b, budget: {} }, { id: c, limits: { weight: 0.5 } }]',
  )
  t.strictSame(daily?.team.budget, { daily: 0 })
  t.strictSame(none?.team.budget, {})
  t.strictSame(weight?.team.limits, { requestsPerMinute: 600, readsPerMinute: 6000, weight: 0.5 })
})

t.test('alert_at defaults to 80 % and 100 %, and an empty list disables it', async t => {
  const alertAt = (written: string) => teamsOf(`teams: [{ id: a, budget: { daily: 1${written} } }]`)[0]?.team.alertAt
  t.strictSame(alertAt(''), [0.8, 1])
  t.strictSame(alertAt(', alert_at: [0.5]'), [0.5])
  t.strictSame(alertAt(', alert_at: []'), [])
})

t.test('amounts are exact', async t => {
  t.strictSame(teamsOf('teams: [{ id: a, budget: { daily: 0.1, monthly: 1e-9 } }]')[0]?.team.budget, {
    daily: 100_000_000,
    monthly: 1,
  })
})

t.test('texts that look like numbers or booleans stay text', async t => {
  const source = `teams:
  - id: 007
    name: 1.50
    keys:
      - { id: 12345678, sha256: ${'1'.repeat(64)}, note: true }
      - { id: 1e234567, sha256: ${'12e4'.repeat(16)}, note: 2026-11-01 }
      - { id: 0x123456, sha256: ${'0'.repeat(64)} }
  - id: no
`
  const [bond, no] = teamsOf(source)
  t.match(bond, {
    team: { id: '007', name: '1.50' },
    keys: [{ id: '12345678', note: 'true' }, { id: '1e234567' }, { id: '0x123456' }],
  })
  t.equal(no?.team.id, 'no')
})

t.test('a key is revoked by a date or by true', async t => {
  const states: [string, boolean][] = [
    ['revoked: 2026-11-22', true],
    ['revoked: 2026-11-22T10:00:00Z', true],
    ['revoked: 2999-01-01', true],
    ['revoked: true', true],
    ['revoked: yes', true],
    ['revoked: false', false],
    ['revoked:', false],
    ['note: x', false],
  ]
  for (const [member, revoked] of states) {
    const [entry] = teamsOf(`teams:\n- id: a\n  keys:\n  - id: abcdefgh\n    sha256: ${SHA}\n    ${member}\n`)
    t.equal(entry?.keys[0]?.revoked, revoked, member)
  }
})

t.test('a name or a note that a page or a terminal cannot show is rejected', async t => {
  const rows: [text: string, isAccepted: boolean][] = [
    ['"caf\\u00e9 \\U0001f415"', true],
    ['"two\\twords"', true],
    ['"a\\ud800"', false],
    ['"\\udc00b"', false],
    ['"\\e[31mred"', false],
    ['"nothing\\0"', false],
  ]
  for (const [text, isAccepted] of rows) {
    const key = `{ id: abcdefgh, sha256: "${SHA}", note: ${text} }`
    const problems = problemsOf(`teams:\n- id: a\n  name: ${text}\n  keys:\n  - ${key}\n`)
    t.strictSame(problems?.length ?? 0, isAccepted ? 0 : 2, text)
  }
  const [entry] = teamsOf(`teams:\n- id: a\n  keys:\n  - { id: abcdefgh, sha256: "${SHA}", note: "two\\nlines" }\n`)
  t.equal(entry?.keys[0]?.note, 'two\nlines')
})

t.test('all problems are reported together, with line and path and without the value', async t => {
  const source = `teams:
  - id: Vision
    protcted: true
    protected: hunter2
    limits: { weight: 0, concurrent: 1.5, requests_per_minute: hunter2, reads_per_minute: 0 }
    budget: { daily: -1, monthly: hunter2, alert_at: 0.8 }
    keys:
      - { id: hunter2, sha256: hunter2, created: 2026-02-30, expires: hunter2 }
      - { id: abcdefgh }
      - hunter2
  - name: [hunter2]
  - id: ok
    disabled: maybe
tems: []
`
  const problems = problemsOf(source)
  t.strictSame(problems, [
    'line 2: teams[0].id: must be 1 to 32 of a-z, 0-9 and -',
    'line 3: teams[0]: unknown member "protcted"',
    'line 4: teams[0].protected: must be true or false',
    'line 5: teams[0].limits.weight: must be a number from 0.1 to 100',
    'line 5: teams[0].limits.concurrent: must be a whole number from 1 to 10000',
    'line 5: teams[0].limits.requests_per_minute: must be a whole number from 1 to 1000000',
    'line 5: teams[0].limits.reads_per_minute: must be a whole number from 1 to 10000000',
    'line 6: teams[0].budget.daily: must be a decimal number of credits, 0 or more',
    'line 6: teams[0].budget.monthly: must be a decimal number of credits, 0 or more',
    'line 6: teams[0].budget.alert_at: must be a list',
    'line 8: teams[0].keys[0].id: must be 8 letters and digits',
    'line 8: teams[0].keys[0].sha256: must be 64 hexadecimal digits',
    'line 8: teams[0].keys[0].created: must be a date (2027-11-01) or a time with its offset (2027-11-01T12:00:00Z)',
    'line 8: teams[0].keys[0].expires: must be a date (2027-11-01) or a time with its offset (2027-11-01T12:00:00Z)',
    'line 9: teams[0].keys[1]: sha256 is missing',
    'line 10: teams[0].keys[2]: must be a map',
    'line 11: teams[1].name: must be 1 to 100 characters on one line, without control characters',
    'line 11: teams[1]: id is missing',
    'line 13: teams[2].disabled: must be true or false',
    'line 14: the file: unknown member "tems"',
  ])
})

t.test('ids and digests are unique across teams', async t => {
  const source = `teams:
  - id: a
    keys:
      - { id: abcdefgh, sha256: ${SHA} }
  - id: b
    keys:
      - { id: abcdefgh, sha256: ${'0'.repeat(64)} }
      - { id: ABCDEFGH, sha256: ${SHA.toUpperCase()} }
  - id: a
`
  t.strictSame(problemsOf(source), [
    'line 7: teams[1].keys[0].id: this key id is already used',
    'line 8: teams[1].keys[1].sha256: this sha256 is already used',
    'line 9: teams[2].id: this team id is already used',
  ])
})

t.test('a text other than a teams file is rejected, in particular an empty file', async t => {
  const refused: [string, RegExp][] = [
    ['', /^line 1: the file: must be a map$/],
    ['# only a comment\n', /the file: must be a map/],
    ['teams:', /the file: teams is missing/],
    ['{}', /the file: teams is missing/],
    ['[]', /the file: must be a map/],
    ['teams: {}', /^line 1: teams: must be a list$/],
    ['teams: [', /^line 1: /],
    [`teams:\n- id: a\n  keys:\n  - { id: abcdefgh, sha256: "abc`, /^line 4: .*bracket or comma is missing/],
    ['teams:\n- id: a\n  id: b\n', /^line 3: a member appears twice$/],
    ['teams:\n\t- id: a\n', /^line 2: /],
    ['teams: []\n---\nteams: []\n', /more than one document/],
    ['teams:\n- &a { id: a }\n- *a\n', /^line 3: teams\[1\]: aliases are not supported$/],
    ['teams:\n- !!int 3\n', /tags are not supported/],
    ['teams:\n- id: a\n  constructor: x\n', /unknown member "constructor"/],
    ['teams:\n- id: a\n  __proto__: { admin: true }\n', /unknown member "__proto__"/],
    ['\0\u0001', /the file|YAML/],
  ]
  for (const [source, problem] of refused) {
    const problems = problemsOf(source)
    t.ok(problems.length > 0, JSON.stringify(source))
    t.match(problems.join('\n'), problem)
  }
})

t.test('a team id has the form of a metric label', async t => {
  for (const id of ['a', 'a-1', '0', 'x'.repeat(32)]) t.equal(teamsOf(`teams: [{ id: ${id} }]`)[0]?.team.id, id)
  for (const id of ['A', 'a_b', 'a b', 'ä', 'x'.repeat(33), '""'])
    t.equal(problemsOf(`teams: [{ id: ${id} }]`).length, 1, id)
})
