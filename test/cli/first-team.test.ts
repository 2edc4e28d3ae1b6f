import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { firstTeam } from '../../src/cli/first-team.js'
import { loadSettings } from '../../src/config/index.js'
import { startGatewayProcess } from '../support/gateway/gateway-process.js'

const NOW = Date.parse('2026-11-22T15:00:00Z')
const KEY = /^SG_gw[0-9A-Za-z]{46}$/
const SEGMIND_API_KEY = 'SG_0123456789abcdef'

function folderFor(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'first-team-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

const made = (env: NodeJS.ProcessEnv) => firstTeam(loadSettings(env), NOW)

t.test('the first start creates a team and a key, and the next start shows the key again', async t => {
  for (const env of [{}, { SEGMIND_API_KEY }, { NODE_ENV: 'production', SANDBOX: 'true' }]) {
    const DATA_DIR = join(folderFor(t), 'data')
    const key = await made({ ...env, DATA_DIR })
    t.match(key, KEY, JSON.stringify(Object.keys(env)))
    t.match(readFileSync(join(DATA_DIR, 'teams.yaml'), 'utf8'), 'id: demo')
    t.equal(statSync(join(DATA_DIR, 'first-team.key')).mode & 0o777, 0o600)
    t.equal(await made({ ...env, DATA_DIR }), key)
  }
})

t.test('teams that were set up otherwise are not changed', async t => {
  const DATA_DIR = folderFor(t)
  const file = join(DATA_DIR, 'mine.yaml')
  for (const NODE_ENV of ['', 'production']) {
    t.equal(await made({ NODE_ENV, SANDBOX: 'true', DATA_DIR, TEAMS_FILE: file }), undefined)
    t.throws(() => readFileSync(file), { code: 'ENOENT' })
  }
  writeFileSync(join(DATA_DIR, 'teams.yaml'), 'teams: []\n')
  t.equal(await made({ DATA_DIR }), undefined, 'a file without a key of ours')
  t.equal(readFileSync(join(DATA_DIR, 'teams.yaml'), 'utf8'), 'teams: []\n')
})

t.test('in production the sandbox starts without a teams file and prints a key that is accepted', async t => {
  const DATA_DIR = join(folderFor(t), 'data')
  const gateway = await startGatewayProcess({ NODE_ENV: 'production', SANDBOX: 'true', DATA_DIR })
  t.teardown(() => gateway.end('SIGKILL'))
  const block = gateway.lines.join('\n')
  const key = /team key +(\S+)/.exec(block)?.[1] ?? ''
  t.match(key, KEY)
  t.match(block, /upstream +the built-in SANDBOX/)
  const headers = { 'x-api-key': key, 'content-type': 'application/json' }
  const answer = await fetch(`${gateway.url}/segment`, { method: 'POST', headers, body: '{}' })
  t.match(await answer.json(), { code: 'missing_image' })
  t.equal(await gateway.end('SIGTERM'), 0)
})
