import { existsSync } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/index.js'
import { addKey, validTeams } from '../teams/keys.js'
import { createRegistry } from '../teams/registry.js'

/**
 * File with the key of the first team, readable by its owner only. Later starts print the key
 * again.
 */
const KEY_FILE = 'first-team.key'
const TEAM = 'demo'

/**
 * Creates a team for the first start: without `TEAMS_FILE` and without a default teams file,
 * creates one with the team `demo` and a key. Returns that key, or `undefined` when the teams were
 * set up otherwise. In production this happens only with the sandbox, which costs nothing.
 */
export async function firstTeam(settings: Settings, nowMs: number): Promise<string | undefined> {
  const { file, isDefaultFile } = settings.teams
  if ((settings.production && !settings.sandbox) || !isDefaultFile) return undefined
  const keyFile = join(settings.store.dataDir, KEY_FILE)
  const known = await readFile(keyFile, 'utf8').catch(() => undefined)
  if (existsSync(file)) return known && (await isAccepted(file, known.trim(), nowMs)) ? known.trim() : undefined
  const { key } = await addKey({ file, team: TEAM, name: 'First team', note: 'created at the first start', nowMs })
  await writeFile(keyFile, `${key.text}\n`, { mode: 0o600 })
  await chmod(keyFile, 0o600)
  return key.text
}

async function isAccepted(file: string, key: string, nowMs: number): Promise<boolean> {
  const registry = createRegistry(validTeams(await readFile(file, 'utf8'), file))
  return 'caller' in registry.authenticate(key, nowMs)
}
