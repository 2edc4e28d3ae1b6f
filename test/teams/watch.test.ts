import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Team } from '../../src/contracts/types.js'
import { createApiKey } from '../../src/teams/api-key.js'
import { watchTeams } from '../../src/teams/watch.js'

const KEY = createApiKey()
const NEVER_MS = 2 ** 30

const teamsWith = (...ids: string[]) => `teams:\n${ids.map(id => `- id: ${id}\n`).join('')}`
const withKey = (more = '') => `teams: [{ id: a, keys: [{ id: ${KEY.id}, sha256: ${KEY.sha256}${more} }] }]`

/** Watches a text in memory and reads it only on `read`. A text that is an `Error` is thrown. */
async function staged(first: string) {
  const file: { now: string | Error } = { now: first }
  const seen: string[] = []
  const watched = await watchTeams({
    file: 'teams.yaml',
    intervalMs: NEVER_MS,
    onLoaded: teams => seen.push(`loaded ${teams.map(team => team.id).join()}`),
    onRefused: problems => seen.push(`refused ${problems.join()}`),
    read: async () => {
      if (file.now instanceof Error) throw file.now
      return file.now
    },
  })
  return { file, seen, watched }
}

const missing = () => Object.assign(new Error('gone'), { code: 'ENOENT' })
const idsOf = (watched: { teams(): readonly Team[] }) => watched.teams().map(team => team.id)

t.test('the file is loaded at start, and a change once a second read confirms it', async t => {
  const { file, seen, watched } = await staged(teamsWith('a'))
  t.strictSame(seen, ['loaded a'])
  await watched.reload()
  file.now = teamsWith('a', 'b')
  await watched.reload()
  t.strictSame(idsOf(watched), ['a'], 'a change seen once may be half a change')
  await watched.reload()
  t.strictSame(idsOf(watched), ['a', 'b'])
  await watched.reload()
  t.strictSame(seen, ['loaded a', 'loaded a,b'], 'an unchanged file is not loaded again')
  watched.stop()
})

t.test('a partly written file is never used, even if it is valid YAML', async t => {
  const { file, seen, watched } = await staged(teamsWith('a', 'b', 'c'))
  file.now = teamsWith('a')
  await watched.reload()
  file.now = teamsWith('a', 'b', 'c', 'd')
  await watched.reload()
  t.strictSame(idsOf(watched), ['a', 'b', 'c'])
  await watched.reload()
  t.strictSame(seen, ['loaded a,b,c', 'loaded a,b,c,d'])
  file.now = teamsWith('a')
  await watched.reload()
  file.now = teamsWith('a', 'b', 'c', 'd')
  await watched.reload()
  await watched.reload()
  t.equal(seen.length, 2, 'an unconfirmed change is ignored')
  watched.stop()
})

t.test('an invalid, empty or missing file is rejected and reported once, and the previous teams stay', async t => {
  const states: [string | Error, string][] = [
    ['teams:\n- id: b\n- id: B\n', 'refused line 3: teams[1].id: must be 1 to 32 of a-z, 0-9 and -'],
    ['', 'refused line 1: the file: must be a map'],
    [missing(), 'refused the file cannot be read: ENOENT'],
  ]
  for (const [state, event] of states) {
    const { file, seen, watched } = await staged(teamsWith('a'))
    t.equal(watched.isOk(), true)
    file.now = state
    for (let look = 0; look < 4; look++) await watched.reload()
    t.strictSame(seen, ['loaded a', event])
    t.strictSame(idsOf(watched), ['a'])
    t.equal(watched.isOk(), false)
    t.strictSame(watched.problems(), [event.replace('refused ', '')])
    file.now = teamsWith('a')
    for (let look = 0; look < 2; look++) await watched.reload()
    t.equal(watched.isOk(), true, 'the previous text is valid again')
    t.strictSame(watched.problems(), [])
    t.equal(seen.at(-1), 'loaded a')
    watched.stop()
  }
})

t.test('a revoked key, an expired key and a disabled team are refused after the reload', async t => {
  const { file, watched } = await staged(withKey())
  const now = Date.parse('2026-11-22T00:00:00Z')
  const { authenticate } = watched
  t.match(authenticate(KEY.text, now), { caller: { keyId: KEY.id } })
  const changes: [string, string][] = [
    [withKey(', revoked: 2026-11-22'), 'unauthorized'],
    [withKey(', expires: 2026-11-21'), 'unauthorized'],
    [withKey().replace('id: a,', 'id: a, disabled: true,'), 'disabled'],
    [teamsWith('a'), 'unauthorized'],
  ]
  for (const [text, refused] of changes) {
    file.now = text
    await watched.reload()
    await watched.reload()
    t.strictSame(authenticate(KEY.text, now), { refused }, text)
  }
  watched.stop()
})

t.test('an invalid file at start throws with every problem', async t => {
  await t.rejects(staged('teams:\n- id: A\n- id: B\n'), { message: /teams\.yaml:\n {2}line 2: .*\n {2}line 3: / })
  await t.rejects(watchTeams({ file: '/nowhere/teams.yaml' }), { message: /nowhere.*\n.*cannot be read: ENOENT/ })
})

t.test('a stopped watch applies no change', async t => {
  const { file, seen, watched } = await staged(teamsWith('a'))
  file.now = teamsWith('b')
  await watched.reload()
  watched.stop()
  await watched.reload()
  t.strictSame(seen, ['loaded a'])
})

t.test('renames, rewrites and swapped symbolic links of a real file are followed', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'teams-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'teams.yaml')
  writeFileSync(join(folder, 'one'), teamsWith('one'))
  writeFileSync(join(folder, 'two'), teamsWith('two'))
  symlinkSync('one', file)
  const loads = queue<string>()
  const watched = await watchTeams({
    file,
    intervalMs: 5,
    onLoaded: teams => loads.put(teams.map(team => team.id).join()),
  })
  t.teardown(() => watched.stop())
  t.equal(await loads.take(), 'one')
  symlinkSync('two', join(folder, 'next'))
  renameSync(join(folder, 'next'), file)
  t.equal(await loads.take(), 'two')
  writeFileSync(join(folder, 'two'), teamsWith('three'))
  t.equal(await loads.take(), 'three')
})

/** Queues values of a callback for a test. */
function queue<T>() {
  const values: T[] = []
  let wake = () => {}
  return {
    put(value: T) {
      values.push(value)
      wake()
    },
    async take(): Promise<T> {
      for (let value = values.shift(); ; value = values.shift()) {
        if (value !== undefined) return value
        const keepAlive = setInterval(() => {}, NEVER_MS)
        await new Promise<void>(resolve => {
          wake = resolve
        })
        clearInterval(keepAlive)
      }
    },
  }
}
