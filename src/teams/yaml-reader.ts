import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml'

/**
 * Converts a YAML node into a value. Reports problems to `place.refuse`; the returned value is then
 * not used.
 */
export type Read<T> = (node: Node | undefined, place: Place) => T | undefined

/** Position of a node, for messages. */
interface Place {
  /** For example `teams[0].keys[1].sha256`. */
  path: string
  refuse(problem: string, node?: Node): void
  at(path: string, node: Node | undefined): Place
}

/** Reader of a member of a map. */
interface Member {
  read: Read<unknown>
  isRequired: boolean
}

type ValueOf<M> = M extends { read: Read<infer T> } ? T : never
type RequiredNames<M> = { [K in keyof M]: M[K] extends { isRequired: true } ? K : never }[keyof M]
type MapValue<M> = { [K in RequiredNames<M>]: ValueOf<M[K]> } & {
  [K in Exclude<keyof M, RequiredNames<M>>]?: ValueOf<M[K]>
}

export const required = <T>(read: Read<T>) => ({ read, isRequired: true as const })
export const optional = <T>(read: Read<T>) => ({ read, isRequired: false as const })

/**
 * Parses YAML and reads the whole document. Scalars stay text (failsafe schema), so that an id such
 * as `12345678` or `1e234567` is not read as a number. Returns all problems together, each with its
 * line and without the value.
 */
export function readYaml<T>(text: string, read: Read<T>): { value: T } | { problems: string[] } {
  const lines = new LineCounter()
  const document = parseDocument(text, { ...YAML_OPTIONS, lineCounter: lines })
  const problems: string[] = []
  const report = (offset: number, problem: string) => problems.push(`line ${lines.linePos(offset).line}: ${problem}`)
  for (const { pos, code } of [...document.errors, ...document.warnings])
    report(pos[0], SYNTAX[code] ?? 'not well-formed YAML')
  if (document.errors.length > 0) return { problems }
  const value = read(document.contents ?? undefined, placeIn(report, '', document.contents ?? undefined))
  return problems.length > 0 || value === undefined ? { problems } : { value }
}

/** Options for reading and editing the teams file. */
export const YAML_OPTIONS = { schema: 'failsafe', prettyErrors: false, stringKeys: true, logLevel: 'error' } as const

/**
 * Reads a map with these members and no others. A member without a value (`note:`) counts as
 * absent.
 */
export function record<M extends Record<string, Member>>(members: M): Read<MapValue<M>> {
  return (node, place) => {
    if (!isMap(node)) return refused(place, 'must be a map')
    const values: Record<string, unknown> = {}
    for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
      const name = String(key)
      const member = Object.hasOwn(members, name) ? members[name] : undefined
      if (!member) place.refuse(`unknown member ${JSON.stringify(name.slice(0, 32))}`, key)
      else if (value && !isEmpty(value)) values[name] = member.read(value, place.at(name, value))
    }
    for (const [name, { isRequired }] of Object.entries(members)) {
      if (isRequired && !(name in values)) place.refuse(`${name} is missing`, node)
    }
    return values as MapValue<M>
  }
}

export function listOf<T>(read: Read<T>): Read<T[]> {
  return (node, place) => {
    if (!isSeq(node)) return refused(place, 'must be a list')
    const items = node.items.map((item, index) => read(item as Node, place.at(`[${index}]`, item as Node)))
    return items.filter(item => item !== undefined)
  }
}

/** Reads a scalar through `accept`. `accepts` describes the accepted form for messages. */
export function text<T>(accepts: string, accept: (text: string) => T | undefined): Read<T> {
  return (node, place) => {
    const value = isScalar(node) ? accept(String(node.value)) : undefined
    return value === undefined ? refused(place, `must be ${accepts}`) : value
  }
}

/**
 * Reads a value and rejects one that this reader has read before. `name` describes the value for
 * messages.
 */
export function unique(name: string, read: Read<string>): Read<string> {
  const seen = new Set<string>()
  return (node, place) => {
    const value = read(node, place)
    if (value !== undefined && seen.has(value)) return refused(place, `this ${name} is already used`)
    if (value !== undefined) seen.add(value)
    return value
  }
}

/** Reads a value and converts it. Rejected values are not converted. */
export function mapped<A, B>(read: Read<A>, convert: (found: A) => B): Read<B> {
  return (node, place) => {
    const found = read(node, place)
    return found === undefined ? undefined : convert(found)
  }
}

function placeIn(report: (offset: number, problem: string) => void, path: string, node: Node | undefined): Place {
  return {
    path,
    refuse(problem, culprit = node) {
      const text = isAlias(culprit) ? 'aliases are not supported' : problem
      report(culprit?.range?.[0] ?? 0, `${path || 'the file'}: ${text}`)
    },
    at: (member, child) =>
      placeIn(report, member.startsWith('[') || path === '' ? path + member : `${path}.${member}`, child),
  }
}

function refused(place: Place, problem: string): undefined {
  place.refuse(problem)
}

/** Returns true for a member without a value, such as `note:`. */
const isEmpty = (node: Node) => isScalar(node) && node.value === '' && node.type === 'PLAIN'

/**
 * Messages for parser errors. The parser's own messages quote the file, which may contain secrets.
 */
const SYNTAX: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'a member appears twice',
  MULTIPLE_DOCS: 'more than one document',
  TAG_RESOLVE_FAILED: 'tags are not supported',
  TAB_AS_INDENT: 'tabs are not allowed as indentation',
  BAD_INDENT: 'wrong indentation',
  MISSING_CHAR: 'a quote, bracket or comma is missing',
}
