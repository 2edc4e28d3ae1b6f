import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml'

/** Turns a YAML node into a value. What is wrong goes to `place.refuse`; what is answered then is of no use. */
export type Read<T> = (node: Node | undefined, place: Place) => T | undefined

/** Where a node is, for messages. */
export interface Place {
  /** Such as `teams[0].keys[1].sha256`. */
  path: string
  refuse(problem: string, node?: Node): void
  at(path: string, node: Node | undefined): Place
}

/** A member of a map: how to read it and whether it has to be there. */
interface Member {
  read: Read<unknown>
  isRequired: boolean
}

type ValueOf<M> = M extends { read: Read<infer T> } ? T : never
type RequiredNames<M> = { [K in keyof M]: M[K] extends { isRequired: true } ? K : never }[keyof M]
type Fields<M> = { [K in RequiredNames<M>]: ValueOf<M[K]> } & {
  [K in Exclude<keyof M, RequiredNames<M>>]?: ValueOf<M[K]>
}

export const required = <T>(read: Read<T>) => ({ read, isRequired: true as const })
export const optional = <T>(read: Read<T>) => ({ read, isRequired: false as const })

/**
 * Parses YAML text and reads it whole. Scalars stay text (the failsafe schema), so that an id like `12345678` or `1e234567` is
 * never taken for a number. All problems are told together, each with its line, none with the value.
 */
export function readYaml<T>(text: string, read: Read<T>): { value: T } | { problems: string[] } {
  const lines = new LineCounter()
  const document = parseDocument(text, { ...YAML_OPTIONS, lineCounter: lines })
  const problems: string[] = []
  const say = (offset: number, problem: string) => problems.push(`line ${lines.linePos(offset).line}: ${problem}`)
  for (const { pos, code } of [...document.errors, ...document.warnings])
    say(pos[0], SYNTAX[code] ?? 'not well-formed YAML')
  if (document.errors.length > 0) return { problems }
  const value = read(document.contents ?? undefined, placeIn(say, '', document.contents ?? undefined))
  return problems.length > 0 || value === undefined ? { problems } : { value }
}

/** How our YAML files are parsed, for reading as for editing. */
export const YAML_OPTIONS = { schema: 'failsafe', prettyErrors: false, stringKeys: true, logLevel: 'error' } as const

/** A map with these members and no others; one without a value (`note:`) counts as absent. */
export function record<M extends Record<string, Member>>(members: M): Read<Fields<M>> {
  return (node, place) => {
    if (!isMap(node)) return refused(place, 'has to be a map')
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
    return values as Fields<M>
  }
}

export function listOf<T>(read: Read<T>): Read<T[]> {
  return (node, place) => {
    if (!isSeq(node)) return refused(place, 'has to be a list')
    const items = node.items.map((item, index) => read(item as Node, place.at(`[${index}]`, item as Node)))
    return items.filter(item => item !== undefined)
  }
}

/** A scalar whose text `accept` turns into a value; `accepts` says in words what that takes. */
export function text<T>(accepts: string, accept: (text: string) => T | undefined): Read<T> {
  return (node, place) => {
    const value = isScalar(node) ? accept(String(node.value)) : undefined
    return value === undefined ? refused(place, `has to be ${accepts}`) : value
  }
}

/** The same value, refused when it was met before by this reader; `what` names it. */
export function unique(what: string, read: Read<string>): Read<string> {
  const seen = new Set<string>()
  return (node, place) => {
    const value = read(node, place)
    if (value !== undefined && seen.has(value)) return refused(place, `this ${what} is there already`)
    if (value !== undefined) seen.add(value)
    return value
  }
}

/** The value another reader found, turned into something else. What was refused stays refused. */
export function mapped<A, B>(read: Read<A>, turn: (found: A) => B): Read<B> {
  return (node, place) => {
    const found = read(node, place)
    return found === undefined ? undefined : turn(found)
  }
}

function placeIn(say: (offset: number, problem: string) => void, path: string, node: Node | undefined): Place {
  return {
    path,
    refuse(problem, culprit = node) {
      const what = isAlias(culprit) ? 'aliases are not supported' : problem
      say(culprit?.range?.[0] ?? 0, `${path || 'the file'}: ${what}`)
    },
    at: (member, child) =>
      placeIn(say, member.startsWith('[') || path === '' ? path + member : `${path}.${member}`, child),
  }
}

function refused(place: Place, problem: string): undefined {
  place.refuse(problem)
}

/** `note:` with nothing behind it. */
const isEmpty = (node: Node) => isScalar(node) && node.value === '' && node.type === 'PLAIN'

/** Our words for what the parser finds: its own quote the file. */
const SYNTAX: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'a member is given twice',
  MULTIPLE_DOCS: 'more than one document',
  TAG_RESOLVE_FAILED: 'tags are not supported',
  TAB_AS_INDENT: 'tabs are not allowed as indentation',
  BAD_INDENT: 'wrong indentation',
  MISSING_CHAR: 'something is left open: a quote, bracket or comma is missing',
}
