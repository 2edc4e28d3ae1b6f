import { rename, writeFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import { createApiKey } from '../../src/teams/api-key.js'
import { withBudgetOverride, withKey, withRevokedKey } from '../../src/teams/teams-edit.js'
import { parseTeams } from '../../src/teams/teams-file.js'
import { watchTeams } from '../../src/teams/watch.js'
import { eventually } from '../support/eventually.js'
import type { Random } from '../support/random.js'
import type { Case } from './case.js'
import { expectNormalService } from './headers.js'
import { mutated, oddJson, oddText } from './values.js'

/** Checks what loads a teams file: it loads, or every problem has a line and shows no secret. */
export async function teamsCase(fuzz: Case): Promise<void> {
  const { random, seed } = fuzz
  const legal = stringify(
    document(random, seed, false),
    random.chance(0.3) ? { defaultStringType: 'QUOTE_SINGLE' } : {},
  )
  const loaded = parseTeams(legal)
  fuzz.check('teams' in loaded, `a legal file was refused: ${'problems' in loaded && loaded.problems[0]}\n${legal}`)
  checkEdits(fuzz, legal)
  const text = random.chance(0.4)
    ? stringify(document(random, seed, true))
    : mutated(random, Buffer.from(legal)).toString('utf8')
  const parsed = parseTeams(text)
  const hashes = (text.match(/[0-9a-f]{64}/g) ?? []).filter(hash => new Set(hash).size > 4)
  if ('problems' in parsed) {
    fuzz.check(parsed.problems.length > 0, `it was refused without a reason:\n${text}`)
    for (const problem of parsed.problems) {
      fuzz.check(/^line \d+: \S/.test(problem) && problem.length < 400, `the problem ${problem} of\n${text}`)
      fuzz.check(!hashes.some(hash => problem.includes(hash.slice(0, 16))), `the problem ${problem} quotes a hash`)
    }
  } else {
    for (const { team, keys } of parsed.teams) {
      fuzz.check(/^[a-z0-9-]{1,32}$/.test(team.id) && team.name.length > 0, `it has the team ${team.id}:\n${text}`)
      fuzz.check(
        keys.every(({ sha256 }) => /^[0-9a-f]{64}$/.test(sha256)),
        `it has a key without a hash:\n${text}`,
      )
      fuzz.check(team.limits.requestsPerMinute >= 1 && team.limits.weight > 0, `it has no limits:\n${text}`)
    }
    checkEdits(fuzz, text)
  }
  await checkWatcher(fuzz, text)
  if (random.chance(0.01)) await checkRunningGateway(fuzz, text)
}

function document(random: Random, seed: number, isOdd: boolean): object {
  const odd = <T>(value: T): unknown =>
    isOdd && random.chance(0.06) ? random.pick([oddText(random), oddJson(random, 2)]) : value
  const maybe = (members: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(members).flatMap(([name, value]) => {
        if (random.chance(0.4)) return []
        return [[isOdd && random.chance(0.03) ? oddText(random) : name, odd(value)]]
      }),
    )
  const hex = () => Array.from({ length: 64 }, () => random.pick([...'0123456789abcdef'])).join('')
  const key = (_: unknown, index: number) => ({
    id: odd(`k${String(seed % 100_000).padStart(5, '0')}${index}${random.pick([...'abcdefgh'])}`),
    sha256: odd(hex()),
    ...maybe({
      created: '2026-11-01',
      expires: random.pick(['2027-11-01', '2027-11-01T12:00:00+01:00', '2020-02-29']),
      note: random.pick(['labelling ui', 'caf\u00e9', '# not a comment', ': ', '', "it's"]),
      test: random.pick([true, false]),
      revoked: random.pick([true, false, '2026-11-02']),
    }),
  })
  const amounts = () => maybe({ daily: random.pick([0, 5, '5.0', 0.000000001]), monthly: random.pick([60, '1000']) })
  const team = (_: unknown, index: number) => ({
    id: odd(`team-${index}`),
    ...maybe({
      name: random.pick(['Vision research', '\u00fc', '123', 'true', '~']),
      protected: random.pick([true, 'yes', 'off']),
      disabled: random.pick([false, 'No']),
      limits: maybe({
        requests_per_minute: random.pick([1, 600]),
        reads_per_minute: 6_000,
        concurrent: 8,
        weight: random.pick([2, 0.5]),
      }),
      budget: {
        ...amounts(),
        ...maybe({ alert_at: random.pick([[], [0.8, 1]]), override: { ...amounts(), until: '2026-12-01' } }),
      },
      keys: index === 0 ? Array.from({ length: random.between(0, 9) }, key) : [],
    }),
  })
  return isOdd && random.chance(0.05)
    ? (oddJson(random) as object)
    : { teams: odd(Array.from({ length: random.between(0, 4) }, team)) }
}

/** Every edit of a file that loads gives a file that loads. */
function checkEdits(fuzz: Case, text: string): void {
  const { id, sha256 } = createApiKey({ random: length => Buffer.alloc(length, fuzz.random.between(0, 247)) })
  const teams = parseTeams(text)
  if (!('teams' in teams)) return
  const [first] = teams.teams
  const added = withKey(
    text,
    { id: fuzz.random.pick([first?.team.id ?? 'new', 'new']) },
    { id, sha256, created: '2026-11-29' },
  )
  const revoked = withRevokedKey(added, id, '2026-11-29')
  const until = '2026-12-24T00:00:00Z'
  const overridden = withBudgetOverride(revoked, first?.team.id ?? 'new', { daily: '1', until })
  for (const edited of [
    added,
    revoked,
    overridden,
    withBudgetOverride(overridden, first?.team.id ?? 'new', undefined),
  ]) {
    const found = parseTeams(edited)
    const problem = 'problems' in found ? found.problems[0] : 'the key is missing'
    const hasKey = 'teams' in found && found.teams.some(({ keys }) => keys.some(key => key.id === id))
    fuzz.check(hasKey, `an edit of a legal file: ${problem}\n${text}\n---\n${edited}`)
  }
}

/** A watcher applies a file that loads, and keeps the last good one otherwise. */
async function checkWatcher(fuzz: Case, text: string): Promise<void> {
  const key = createApiKey({ random: length => Buffer.alloc(length, 7) })
  const good = stringify({ teams: [{ id: 'last-good', keys: [{ id: key.id, sha256: key.sha256 }] }] })
  let current = good
  const watched = await watchTeams({ file: 'teams.yaml', intervalMs: 2 ** 30, read: async () => current })
  current = text
  await watched.reload()
  await watched.reload()
  const isLegal = 'teams' in parseTeams(text)
  const isKnown = 'caller' in watched.authenticate(key.text, Date.now())
  fuzz.check(watched.isOk() === isLegal && isKnown !== isLegal, `the watcher applied or kept the wrong file:\n${text}`)
  watched.stop()
}

/** The gateway itself keeps its teams while its file is broken. */
async function checkRunningGateway(fuzz: Case, text: string): Promise<void> {
  const { gateway } = fuzz.world
  const file = gateway.teamsFile
  const good = await import('node:fs/promises').then(({ readFile }) => readFile(file, 'utf8'))
  const replace = async (content: string) => {
    await writeFile(`${file}.new`, content)
    await rename(`${file}.new`, file)
  }
  const isFileOk = async () => /_teams_file_ok 1$/m.test(await gateway.metrics())
  if ('teams' in parseTeams(text)) return
  await replace(text)
  await eventually('the broken teams file was not noticed', async () => !(await isFileOk()))
  await expectNormalService(fuzz, `teams ${fuzz.seed}`)
  await replace(good)
  await eventually('the repaired teams file was not noticed', isFileOk)
}
