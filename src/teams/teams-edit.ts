import { type Document, isMap, isSeq, parseDocument, Scalar, type YAMLMap, YAMLSeq } from 'yaml'
import { defined } from '../contracts/defined.js'
import type { BudgetOverride, TeamKey } from '../contracts/keys.js'
import { YAML_OPTIONS } from './yaml-reader.js'

/** A key to be written into the teams file. */
export type NewKey = Pick<TeamKey, 'id' | 'sha256'> & {
  created: string
  expires?: string | undefined
  note?: string | undefined
  test?: boolean
}

/** Content of a new teams file. */
export const EMPTY_TEAMS = `# Teams and their keys. A running gateway applies a change within two seconds.
# It rejects a file that contains an error as a whole.
# Create keys with: segmind-gateway keys create <team>
teams: []
`

/**
 * Adds a key, and its team if it is new. `source` must be valid (`parseTeams`). All edits keep
 * comments.
 */
export function withKey(source: string, team: { id: string; name?: string | undefined }, key: NewKey): string {
  const document = parse(source)
  const found = teamsOf(document).items.find(item => isMap(item) && item.get('id') === team.id)
  const entry = isMap(found) ? found : addTeam(document, team)
  listAt(document, entry, 'keys').add(keyNode(document, key))
  return print(document)
}

/** Marks a key as revoked since `date`. The entry stays in the file for reference. */
export function withRevokedKey(source: string, keyId: string, date: string): string {
  const document = parse(source)
  for (const key of keysOf(document)) if (key.get('id') === keyId) key.set('revoked', date)
  return print(document)
}

/** Sets the expiry of a key: a date or a time. */
export function withKeyExpiry(source: string, keyId: string, expires: string): string {
  const document = parse(source)
  for (const key of keysOf(document)) if (key.get('id') === keyId) key.set('expires', expires)
  return print(document)
}

/** Sets or removes the temporary budget of a team. */
export function withBudgetOverride(source: string, teamId: string, override: BudgetOverride | undefined): string {
  const document = parse(source)
  const team = teamsOf(document).items.find(item => isMap(item) && item.get('id') === teamId)
  if (!isMap(team)) return source
  const found = team.get('budget')
  const budget = isMap(found) ? found : (document.createNode({}, { flow: true }) as YAMLMap)
  if (!isMap(found)) team.set('budget', budget)
  if (override) budget.set('override', document.createNode(override, { flow: true }))
  else budget.delete('override')
  if (budget.items.length === 0) team.delete('budget')
  return print(document)
}

function* keysOf(document: Document): Generator<YAMLMap> {
  for (const team of teamsOf(document).items) {
    const keys = isMap(team) ? team.get('keys') : undefined
    for (const key of isSeq(keys) ? keys.items : []) if (isMap(key)) yield key
  }
}

function parse(source: string): Document {
  return parseDocument(source, YAML_OPTIONS)
}

/** Prints without line folding, so that a key stays on one line. */
function print(document: Document): string {
  return document.toString({ lineWidth: 0 })
}

function teamsOf(document: Document): YAMLSeq {
  return listAt(document, document.contents as YAMLMap, 'teams')
}

/**
 * Returns the list of that name, created if missing. Switches an empty list to block style for its
 * first item.
 */
function listAt(document: Document, map: YAMLMap, name: string): YAMLSeq {
  const found = map.get(name)
  if (isSeq(found)) {
    if (found.items.length === 0) found.flow = false
    return found
  }
  const list = new YAMLSeq(document.schema)
  map.set(name, list)
  return list
}

function addTeam(document: Document, { id, name }: { id: string; name?: string | undefined }): YAMLMap {
  const team = document.createNode({ id: plainOrQuoted(id), ...(name !== undefined && { name: quoted(name) }) })
  teamsOf(document).add(team)
  return team as unknown as YAMLMap
}

function keyNode(document: Document, { id, sha256, created, expires, note, test }: NewKey) {
  const members = {
    id: plainOrQuoted(id),
    sha256: quoted(sha256),
    created,
    ...defined({
      expires,
      test: test ? 'true' : undefined,
      note: note === undefined ? undefined : quoted(note),
    }),
  }
  return document.createNode(members, { flow: true })
}

function quoted(text: string): Scalar {
  const scalar = new Scalar(text)
  scalar.type = Scalar.QUOTE_DOUBLE
  return scalar
}

/** Quotes a text that another YAML parser would read as a number, boolean or null. */
function plainOrQuoted(text: string): Scalar | string {
  return /^(?:[-.\d].*|true|false|null|yes|no|on|off|y|n)$/i.test(text) ? quoted(text) : text
}
