import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { dispatch } from '../../src/cli/dispatch.js'
import type { Command } from '../../src/cli/io.js'
import * as keys from '../../src/cli/keys.js'
import type { Store } from '../../src/contracts/store.js'
import { AuditLog } from '../../src/operations/audit.js'
import { parseApiKey } from '../../src/teams/api-key.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { recorder } from './recorder.js'

const NOW = Date.parse('2026-11-22T15:00:00Z')

function folderFor(t: { teardown(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'keys-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Runs `keys …` as the dispatcher does, with a fixed clock. */
async function ran(env: NodeJS.ProcessEnv, ...args: string[]) {
  return ranWith({}, env, ...args)
}

async function ranWith(more: keys.KeysOptions, env: NodeJS.ProcessEnv, ...args: string[]) {
  const io = recorder(env)
  const command: Command = { help: keys.help, run: (words, its) => keys.run(words, its, { now: () => NOW, ...more }) }
  const code = await dispatch(['keys', ...args], io, { keys: command })
  return { code, out: io.out, err: io.err.join('\n') }
}

t.test('create prints only the key on stdout, and the rest on stderr', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const { code, out, err } = await ran(env, 'create', 'vision', '--name', 'Vision', '--expires', '90d', '--note', 'ui')
  t.equal(code, 0)
  t.equal(out.length, 1)
  const id = parseApiKey(out[0] ?? '')?.id ?? 'none'
  t.match(
    err,
    new RegExp(`Key ${id} for the new team vision was added to .*teams\\.yaml; it is valid through 2027-02-20`),
  )
  t.notMatch(err, out[0] ?? '')
  const file = readFileSync(join(env.DATA_DIR, 'teams.yaml'), 'utf8')
  t.match(file, `id: ${/^\d/.test(id) ? `"${id}"` : id}, `)
  t.match(file, 'created: 2026-11-22, expires: 2027-02-20, note: "ui"')
  const again = await ran(env, 'create', 'vision', '--name', 'Other')
  t.match(again.err, /for the team vision .*it does not expire/)
  t.match(again.err, 'its name was not changed')
})

t.test('create --test creates a test key, which the list shows as one', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const { out, err } = await ran(env, 'create', 'vision', '--test')
  t.match(out[0], /^SG_gt/)
  t.equal(parseApiKey(out[0] ?? '')?.isTest, true)
  t.match(err, /^Test key /)
  t.match(readFileSync(join(env.DATA_DIR, 'teams.yaml'), 'utf8'), /created: 2026-11-22, test: true/)
  await ran(env, 'create', 'vision')
  const kinds = JSON.parse((await ran(env, 'list', '--json')).out[0] ?? '').map((row: { kind?: string }) => row.kind)
  t.strictSame(kinds, ['test', undefined])
  t.match((await ran(env, 'list')).out[0], /team +id +created +expires +kind +state/)
})

t.test('create writes to TEAMS_FILE if set', async t => {
  const file = join(folderFor(t), 'elsewhere.yml')
  t.equal((await ran({ TEAMS_FILE: file }, 'create', 'vision')).code, 0)
  t.match(readFileSync(file, 'utf8'), '- id: vision')
})

t.test('keys can be managed in production without the settings of the gateway', async t => {
  const env = { NODE_ENV: 'production', DATA_DIR: folderFor(t), PORT: 'x' }
  t.equal((await ran(env, 'create', 'vision')).code, 0)
})

t.test('wrong usage has exit code 2 and writes nothing', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const mistakes: [string[], RegExp][] = [
    [[], /give create, list, rotate or revoke/],
    [['make'], /unknown subcommand make/],
    [['create'], /give a team id/],
    [['create', 'a', 'b'], /unexpected argument: b/],
    [['create', 'a', '--expires', 'soon'], /--expires takes/],
    [['create', 'a', '--expires', '2026-11-21'], /that has not passed/],
    [['create', 'a', '--expires', ''], /--expires takes/],
    [['create', 'VISION'], /a team id consists/],
    [['create', 'A!'], /a team id consists/],
    [['create', ''], /a team id consists/],
    [['create', 'a', '--note', 'x\ny'], /--note takes .* one line/],
    [['create', 'a', '--note', 'x\u001b[31my'], /--note takes .* control characters/],
    [['create', 'a', '--note', 'x\u2028y'], /--note takes/],
    [['create', 'a', '--note', 'x'.repeat(201)], /--note takes 0 to 200/],
    [['create', 'a', '--name', 'x\r\ny'], /--name takes/],
    [['create', 'a', '--name', 'x\0'], /--name takes/],
    [['create', 'a', '--name', ''], /--name takes 1 to 100/],
    [['create', 'a', '--name', 'x'.repeat(101)], /--name takes/],
    [['create', 'a', '--tset'], /--tset/],
    [['list', 'a'], /unexpected argument: a/],
    [['revoke'], /give a key id/],
  ]
  for (const [args, problem] of mistakes) {
    const { code, out, err } = await ran(env, ...args)
    t.equal(code, 2, encodeURI(args.join(' ')))
    t.strictSame(out, [])
    t.match(err, problem)
  }
  t.throws(() => readFileSync(join(env.DATA_DIR, 'teams.yaml')))
})

t.test('a failure has exit code 1 and a reason', async t => {
  const folder = folderFor(t)
  writeFileSync(join(folder, 'teams.yaml'), 'teams:\n- id: A\n- id: B\n')
  const bad = await ran({ DATA_DIR: folder }, 'create', 'vision')
  t.equal(bad.code, 1)
  t.match(bad.err, /line 2: .*\n.*line 3: /)
  t.match(await ran({ TEAMS_FILE: join(folder, 'none') }, 'list'), { code: 1, err: /none cannot be read: ENOENT/ })
})

t.test('list shows every key with its state and without secrets', async t => {
  const folder = folderFor(t)
  const key = (id: string, more: string) =>
    `  - { id: ${id}, sha256: ${id.repeat(8).replaceAll(/[^0-9a-f]/g, '0')}${more} }\n`
  writeFileSync(
    join(folder, 'teams.yaml'),
    `teams:
- id: vision
  keys:
${key('aaaaaaaa', ', created: 2026-11-01, note: labelling ui')}${key('bbbbbbbb', ', expires: 2026-11-22')}${key('cccccccc', ', expires: 2026-11-21')}${key('dddddddd', ', revoked: 2026-11-01, expires: 2020-01-01')}- id: gone
  disabled: true
  keys:
${key('eeeeeeee', '')}- id: none
`,
  )
  const { code, out } = await ran({ DATA_DIR: folder }, 'list')
  t.equal(code, 0)
  t.strictSame(out, [
    'team    id        created     expires     state          note',
    'vision  aaaaaaaa  2026-11-01              active         labelling ui',
    'vision  bbbbbbbb              2026-11-22  active',
    'vision  cccccccc              2026-11-21  expired',
    'vision  dddddddd              2020-01-01  revoked',
    'gone    eeeeeeee                          team disabled',
  ])
  const json = JSON.parse((await ran({ DATA_DIR: folder }, 'list', '--json')).out.join('\n'))
  t.equal(json.length, 5)
  t.strictSame(json[0], {
    team: 'vision',
    id: 'aaaaaaaa',
    created: '2026-11-01',
    state: 'active',
    note: 'labelling ui',
  })
})

t.test('revoke accepts an id or a whole (leaked) key, and does not print the key', async t => {
  const env = { DATA_DIR: folderFor(t) }
  const texts = [(await ran(env, 'create', 'vision')).out[0] ?? '', (await ran(env, 'create', 'vision')).out[0] ?? '']
  for (const given of [parseApiKey(texts[0] ?? '')?.id ?? '', texts[1] ?? '']) {
    const { code, out, err } = await ran(env, 'revoke', given)
    t.equal(code, 0)
    t.strictSame(out, [])
    t.match(err, /was revoked/)
    t.notMatch(err, texts[1] ?? '')
    t.match(await ran(env, 'revoke', given), { code: 0, err: /was already revoked/ })
  }
  const states = (await ran(env, 'list')).out.slice(1).map(line => line.split(/\s+/)[3])
  t.strictSame(states, ['revoked', 'revoked'])
  t.match(await ran(env, 'revoke', 'unknown0'), { code: 1, err: /There is no key "unknown0"/ })
})

t.test('a real process prints the key and a line break on stdout, and returns the exit code', async t => {
  const folder = folderFor(t)
  const module = (name: string) => JSON.stringify(new URL(`../../src/cli/${name}.js`, import.meta.url).href)
  const script = `
    import { dispatch } from ${module('dispatch')}
    import * as keys from ${module('keys')}
    const io = {
      env: process.env,
      stdout: line => process.stdout.write(line + '\\n'),
      stderr: line => process.stderr.write(line + '\\n'),
    }
    process.exitCode = await dispatch(process.argv.slice(1), io, { keys })`
  const node = ['--input-type=module', '-e', script, '--']
  const options = { env: { PATH: process.env.PATH, DATA_DIR: folder }, encoding: 'utf8', stdio: 'pipe' } as const
  const text = execFileSync(process.execPath, [...node, 'keys', 'create', 'vision'], options)
  t.match(text, /^SG_gw[0-9A-Za-z]{46}\n$/)
  t.equal(spawnSync(process.execPath, [...node, 'keys', 'revoke', 'unknown0'], options).status, 1)
})

t.test('rotate replaces a key, which stays valid during the overlap', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const old = parseApiKey((await ran(env, 'create', 'vision', '--note', 'ui')).out[0] ?? '')?.id ?? ''
  const { code, out, err } = await ran(env, 'rotate', old)
  t.equal(code, 0)
  t.strictSame([out.length, parseApiKey(out[0] ?? '')?.isTest], [1, false])
  t.match(err, new RegExp(`replaces ${old}, which is valid until 2026-11-29T15:00:00`))
  t.match((await ran(env, 'list')).out.join('\n'), /2026-11-29T15:00:00\.000Z +active +ui/)
  t.match(
    (await ran(env, 'rotate', old, '--overlap', '0d', '--expires', '30d')).err,
    'is valid until 2026-11-22T15:00:00',
  )
  t.match((await ran(env, 'rotate', old)).err, 'can be replaced')
  for (const words of [
    ['rotate'],
    ['rotate', old, 'x'],
    ['rotate', old, '--overlap', '91d'],
    ['rotate', old, '--expires', 'x'],
  ])
    t.equal((await ran(env, ...words)).code, 2, words.join(' '))
})

t.test('changes are recorded in the audit log with the user', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const records = memoryRecords()
  const openStore = async () => ({ records, close: async () => {} }) as unknown as Store
  const made = await ranWith({ openStore }, env, 'create', 'vision')
  const id = parseApiKey(made.out[0] ?? '')?.id ?? ''
  const rotated = parseApiKey((await ranWith({ openStore }, env, 'rotate', id)).out[0] ?? '')?.id ?? ''
  await ranWith({ openStore }, env, 'revoke', id)
  await ranWith({ openStore }, env, 'revoke', id)
  const entries = await new AuditLog({ records, now: () => NOW, observer: { storeFailed: () => {} } }).read({
    limit: 9,
  })
  t.match(entries, [
    { action: 'key.revoked', subject: id, by: 'cli', name: userInfo().username, at: NOW },
    { action: 'key.rotated', subject: id, details: { replacedBy: rotated, team: 'vision' } },
    { action: 'key.created', subject: id, details: { team: 'vision', isNewTeam: true } },
  ])
  t.equal(entries.length, 3, 'what changes nothing is not in it')
})

t.test('a failing store does not prevent revoking a key, and is reported', async t => {
  const env = { DATA_DIR: join(folderFor(t), 'data') }
  const id = parseApiKey((await ran(env, 'create', 'vision')).out[0] ?? '')?.id ?? ''
  const openStore = async () => {
    throw new Error('the disk is full')
  }
  const { code, err } = await ranWith({ openStore }, env, 'revoke', id)
  t.equal(code, 0)
  t.match(err, 'The change was made but not recorded in the audit log: the disk is full')
})
