import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { createApiKey, hashApiKey, parseApiKey } from '../../../src/teams/api-key.js'

/**
 * Members of a team in the teams file (docs/reference.md, Teams and keys), without `id` and `keys`.
 */
export type TeamFields = Record<string, unknown>

export interface TeamsFileOptions {
  /** Keys by team. Default: new keys. */
  keys?: Record<string, string>
  /** A further key of the first team. */
  testKey?: string
}

/** Writes a teams file with one key for each team. Returns its path and the keys by team. */
export async function writeTeamsFile<Id extends string>(
  dir: string,
  teams: Record<Id, TeamFields>,
  { keys: given = {}, testKey }: TeamsFileOptions = {},
): Promise<{ file: string; keys: Record<Id, string> }> {
  const ids = Object.keys(teams) as Id[]
  const keys = Object.fromEntries(ids.map(id => [id, given[id] ?? createApiKey().text])) as Record<Id, string>
  const entries = ids.map((id, index) => {
    const texts = [keys[id], ...(index === 0 && testKey !== undefined ? [testKey] : [])]
    return { id, ...teams[id], keys: texts.map(entryOf) }
  })
  const file = join(dir, 'teams.yaml')
  await mkdir(dir, { recursive: true })
  await writeFile(file, stringify({ teams: entries }, { aliasDuplicateObjects: false }))
  return { file, keys }
}

function entryOf(text: string): { id: string; sha256: string } {
  const id = parseApiKey(text)?.id
  if (id === undefined) throw new Error('a test team was given an invalid key')
  return { id, sha256: hashApiKey(text).toString('hex') }
}
