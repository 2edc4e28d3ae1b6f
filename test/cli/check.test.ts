import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../src/cli/check.js'
import { recorder } from './recorder.js'

const SHA = 'ab'.repeat(32)

async function checked(env: NodeJS.ProcessEnv) {
  const io = recorder(env)
  const code = await run([], io)
  return { code, out: io.out, err: io.err }
}

function folderWith(t: { teardown(clean: () => void): void }, teams: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'check-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'teams.yaml'), teams)
  return folder
}

t.test('valid settings and a valid teams file give one line', async t => {
  const folder = folderWith(t, `teams: [{ id: a, keys: [{ id: abcdefgh, sha256: ${SHA} }] }, { id: b }]`)
  const file = join(folder, 'teams.yaml')
  t.strictSame(await checked({ DATA_DIR: folder }), {
    code: 0,
    out: [`ok: settings; 2 teams with 1 key in ${file}`],
    err: [],
  })
  t.match(await checked({ DATA_DIR: join(folder, 'none') }), { code: 0, out: ['ok: settings; no teams file yet'] })
})

t.test('all problems of both are reported together', async t => {
  const folder = folderWith(t, 'teams:\n- id: A\n- id: a\n  protcted: true\n')
  const { code, out, err } = await checked({ NODE_ENV: 'production', PORT: 'hunter2', DATA_DIR: folder })
  t.equal(code, 1)
  t.strictSame(out, [])
  t.match(err, [
    /^PORT: /,
    /^SEGMIND_API_KEY: /,
    /^TEAMS_FILE: /,
    /teams\.yaml: line 2: /,
    /teams\.yaml: line 4: /,
    '5 problems',
  ])
  t.notMatch(err.join(), 'hunter2')
})

t.test('a teams file named by TEAMS_FILE must exist', async t => {
  const { code, err } = await checked({ TEAMS_FILE: '/nowhere/teams.yaml' })
  t.equal(code, 1)
  t.strictSame(err, ['/nowhere/teams.yaml: cannot be read: ENOENT', '1 problem'])
})

t.test('warnings are printed and do not fail the check', async t => {
  const folder = folderWith(t, 'teams: []')
  const { code, out, err } = await checked({ DATA_DIR: folder, LOGLEVEL: 'debug' })
  t.equal(code, 0)
  t.match(out, [/^ok: settings; 0 teams with 0 keys/])
  t.match(err, [/^warning: LOGLEVEL /])
})
