import { existsSync } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config.js'
import { addKey, validTeams } from '../teams/keys.js'
import { createRegistry } from '../teams/registry.js'

/** Where the key of the first team is kept, readable by its owner only, so that the next start can show it again. */
const KEY_FILE = 'first-team.key'
const TEAM = 'demo'

/**
 * Sees to it that a first start has a team to call with: where nobody named a teams file and there is none, one is made with the
 * team `demo` and a key. Answers that key, or nothing when the teams are somebody's own. In production only with the sandbox, which spends nothing.
 */
export async function firstTeam(settings: Settings, nowMs: number): Promise<string | undefined> {
  const { file, isDefaultFile } = settings.teams
  if ((settings.production && !settings.sandbox) || !isDefaultFile) return undefined
  const keyFile = join(settings.store.dataDir, KEY_FILE)
  const known = await readFile(keyFile, 'utf8').catch(() => undefined)
  if (existsSync(file)) return known && (await opens(file, known.trim(), nowMs)) ? known.trim() : undefined
  const { key } = await addKey({ file, team: TEAM, name: 'First team', note: 'made by the first start', nowMs })
  await writeFile(keyFile, `${key.text}\n`, { mode: 0o600 })
  await chmod(keyFile, 0o600)
  return key.text
}

async function opens(file: string, key: string, nowMs: number): Promise<boolean> {
  const registry = createRegistry(validTeams(await readFile(file, 'utf8'), file))
  return 'caller' in registry.authenticate(key, nowMs)
}
