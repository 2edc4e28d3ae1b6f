import { type Document, isMap, isSeq, parseDocument, Scalar, type YAMLMap, YAMLSeq } from 'yaml'
import { YAML_OPTIONS } from './yaml-reader.js'

/** A key as it is written into the teams file. */
export interface NewKey {
  id: string
  sha256: string
  created: string
  expires?: string | undefined
  note?: string | undefined
  test?: boolean
}

/** What a new teams file begins with. */
export const EMPTY_TEAMS = `# Teams and their keys. A running gateway takes a change within two seconds; a file with a mistake is refused whole.
# Keys are made by: segmind-gateway keys create <team>
teams: []
`

/** The teams file with one more key; the team is added when it is new. `source` has to be valid (`parseTeams`); comments stay. */
export function withKey(source: string, team: { id: string; name?: string | undefined }, key: NewKey): string {
  const document = parse(source)
  const found = teamsOf(document).items.find(item => isMap(item) && item.get('id') === team.id)
  const entry = isMap(found) ? found : addTeam(document, team)
  listAt(document, entry, 'keys').add(keyNode(document, key))
  return print(document)
}

/** The teams file with a key marked as revoked since `date`: its line stays, so that one can look it up later. */
export function withRevokedKey(source: string, keyId: string, date: string): string {
  const document = parse(source)
  for (const key of keysOf(document)) if (key.get('id') === keyId) key.set('revoked', date)
  return print(document)
}

/** The teams file with another end of a key: a date or a moment. */
export function withKeyExpiry(source: string, keyId: string, expires: string): string {
  const document = parse(source)
  for (const key of keysOf(document)) if (key.get('id') === keyId) key.set('expires', expires)
  return print(document)
}

/** Credits that a team may book instead of its budget until a moment. */
export interface BudgetOverride {
  daily?: string | undefined
  monthly?: string | undefined
  until: string
}

/** The teams file with a temporary budget of a team, or without one. */
export function withBudgetOverride(source: string, teamId: string, override: BudgetOverride | undefined): string {
  const document = parse(source)
  const team = teamsOf(document).items.find(item => isMap(item) && item.get('id') === teamId)
  if (!isMap(team)) return source
  const found = team.get('budget')
  const budget = isMap(found) ? found : (document.createNode({}, { flow: true }) as YAMLMap)
  if (!isMap(found)) team.set('budget', budget)
  if (override) budget.set('override', document.createNode(definedOf(override), { flow: true }))
  else budget.delete('override')
  if (budget.items.length === 0) team.delete('budget')
  return print(document)
}

function definedOf({ daily, monthly, until }: BudgetOverride) {
  return { ...(daily !== undefined && { daily }), ...(monthly !== undefined && { monthly }), until }
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

/** Without folding: one key stays on one line. */
function print(document: Document): string {
  return document.toString({ lineWidth: 0 })
}

function teamsOf(document: Document): YAMLSeq {
  return listAt(document, document.contents as YAMLMap, 'teams')
}

/** The list of that name, in block style as soon as something is added to an empty one. */
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
  const team = document.createNode({ id: plainOrQuoted(id), ...(name === undefined ? {} : { name: quoted(name) }) })
  teamsOf(document).add(team)
  return team as unknown as YAMLMap
}

function keyNode(document: Document, { id, sha256, created, expires, note, test }: NewKey) {
  const members = {
    id: plainOrQuoted(id),
    sha256: quoted(sha256),
    created,
    ...(expires === undefined ? {} : { expires }),
    ...(test ? { test: 'true' } : {}),
    ...(note === undefined ? {} : { note: quoted(note) }),
  }
  return document.createNode(members, { flow: true })
}

function quoted(text: string): Scalar {
  const scalar = new Scalar(text)
  scalar.type = Scalar.QUOTE_DOUBLE
  return scalar
}

/** Quoted where another YAML reader would see a number, a truth or nothing. */
function plainOrQuoted(text: string): Scalar | string {
  return /^(?:[-.\d].*|true|false|null|yes|no|on|off|y|n)$/i.test(text) ? quoted(text) : text
}
