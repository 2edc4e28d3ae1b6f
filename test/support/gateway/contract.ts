import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'
import type { Answer } from './raw-client.js'

type Node = Record<string, unknown>

/** A response with its request; `path` has no query. */
interface ObservedResponse extends Answer {
  method: string
  path: string
}

/** Documented form of one response. */
interface Documented {
  /** Operations that document it, such as `GET /usage`. For an undocumented method, all operations of the path. */
  operations: string[]
  pointer: string
  /** The status in the document: that of the response, or `default`. */
  status: string
}

export interface Contract {
  document: Node
  /** Documented `METHOD /path`, such as `POST /segment`. */
  operations: string[]
  /**
   * Lists the differences between a response and the document, and records the documented parts
   * that it has.
   */
  violationsOf(seen: ObservedResponse): string[]
  /**
   * Lists the documented parts that no response had so far: statuses, types, headers, codes, header
   * values.
   */
  unobserved(): string[]
  /** Error codes of all documented responses. */
  codes(): Set<string>
  /** Returns the value at a path of the document. Follows `$ref`s. */
  at(...names: string[]): Node
}

/** Headers of the connection, which are not part of the contract. */
const CONNECTION_LEVEL = new Set([
  'connection',
  'content-length',
  'content-type',
  'date',
  'keep-alive',
  'transfer-encoding',
])
const DOCUMENT = 'openapi'

/** Reads openapi.yaml. */
export async function readContract(): Promise<Contract> {
  const document = parse(await readFile('openapi.yaml', 'utf8')) as Node
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema(document, DOCUMENT)
  const reader = createReader(document)
  const promises = allPromises(reader)
  const observed = new Set<string>()

  const fit = (pointer: string, value: unknown): string[] => {
    const validate = ajv.getSchema(`${DOCUMENT}#${encodeURI(pointer)}`)
    if (!validate) throw new Error(`there is no schema at ${pointer}`)
    return validate(value) ? [] : (validate.errors ?? []).map(error => `${error.instancePath} ${error.message}`)
  }
  return {
    document,
    operations: reader.operations().map(({ name }) => name),
    violationsOf(seen) {
      const name = `${seen.method} ${seen.path} ${seen.status}`
      const documented = reader.find(seen)
      if (!documented) return [`${name} is not documented`]
      const observations = observe(seen, documented.pointer, reader, fit)
      for (const operation of documented.operations) {
        for (const kind of observations.observed) observed.add(`${operation} ${documented.status}${kind}`)
      }
      return observations.violations.map(violation => `${name}: ${violation}`)
    },
    unobserved: () => [...promises].filter(promise => !observed.has(promise)),
    codes: () => new Set([...promises].flatMap(promise => / code (\w+)$/.exec(promise)?.[1] ?? [])),
    at: (...names) => reader.at(pointerOf(names)).value as Node,
  }
}

type Reader = ReturnType<typeof createReader>

function createReader(document: Node) {
  const at = (pointer: string): { pointer: string; value: unknown } => {
    let where = ''
    let value: unknown = document
    for (const name of pointer.split('/').slice(1)) {
      ;({ pointer: where, value } = follow(where, value))
      where += `/${name}`
      value = (value as Node | undefined)?.[name.replaceAll('~1', '/').replaceAll('~0', '~')]
    }
    return follow(where, value)
  }
  const follow = (pointer: string, value: unknown): { pointer: string; value: unknown } => {
    const ref = (value as Node | undefined)?.$ref
    // A $ref in a schema can have other keywords next to it, so Ajv resolves it.
    return typeof ref === 'string' && Object.keys(value as Node).length === 1 ? at(ref.slice(1)) : { pointer, value }
  }
  const keys = (pointer: string): string[] => Object.keys((at(pointer).value as Node | undefined) ?? {})

  const operations = () =>
    keys('/paths').flatMap(path =>
      keys(pointerOf(['paths', path])).map(method => ({
        name: `${method.toUpperCase()} ${path}`,
        pointer: pointerOf(['paths', path, method]),
      })),
    )

  const find = ({ method, path, status }: ObservedResponse): Documented | undefined => {
    const isPath = keys('/paths').includes(path)
    const ofPath = operations().filter(({ name }) => name.endsWith(` ${path}`))
    const own = ofPath.filter(({ name }) => name === `${method} ${path}`)
    // An undocumented method gets 405, but under /admin strangers are refused first.
    const isRefused = status === 405 || (own.length === 0 && path.startsWith('/admin/'))
    const answering = isRefused ? ofPath : own
    const bases = isPath ? answering : [{ name: 'elsewhere', pointer: '/x-elsewhere' }]
    for (const documented of [String(status), 'default']) {
      const pointers = bases.map(({ pointer }) => `${pointer}/responses/${documented}`)
      const [pointer = ''] = pointers
      if (bases.length === 0 || !pointers.every(each => at(each).value)) continue
      return { operations: bases.map(({ name }) => name), pointer: at(pointer).pointer, status: documented }
    }
    return undefined
  }
  return { at, keys, operations, find }
}

/**
 * Compares a response with its documented form: the documented parts it has, and its differences.
 */
function observe(
  seen: ObservedResponse,
  pointer: string,
  reader: Reader,
  fit: (pointer: string, value: unknown) => string[],
) {
  const observed = ['']
  const violations: string[] = []
  const documentedHeaders = new Map(reader.keys(`${pointer}/headers`).map(name => [name.toLowerCase(), name]))
  for (const [name, written] of documentedHeaders) {
    const header = reader.at(`${pointer}/headers/${written}`)
    const { required, schema } = header.value as { required?: boolean; schema: Node }
    const text = seen.headers[name]
    if (text === undefined && required) violations.push(`the header ${name} is missing`)
    if (text === undefined) continue
    observed.push(` header ${name}`, ...(schema.enum ? [` header ${name}=${text}`] : []))
    const value = schema.type === 'integer' ? Number(text) : text
    violations.push(...fit(`${header.pointer}/schema`, value).map(error => `the header ${name}, ${text},${error}`))
  }
  for (const name of Object.keys(seen.headers)) {
    if (!documentedHeaders.has(name) && !CONNECTION_LEVEL.has(name))
      violations.push(`the header ${name} is undocumented`)
  }
  const body =
    seen.method === 'HEAD' || seen.status === 304 || seen.status === 204
      ? { observed: [], violations: [] }
      : observeBody(seen, pointer, reader, fit)
  return { observed: [...observed, ...body.observed], violations: [...violations, ...body.violations] }
}

function observeBody(
  seen: ObservedResponse,
  pointer: string,
  reader: Reader,
  fit: (pointer: string, value: unknown) => string[],
) {
  const type = (seen.headers['content-type'] ?? '').split(';', 1)[0] ?? ''
  if (!reader.keys(`${pointer}/content`).includes(type)) {
    return { observed: [], violations: [`the content type ${type} is not documented`] }
  }
  const media = pointerOf([...namesOf(pointer), 'content', type])
  if (!type.endsWith('json')) {
    return { observed: [` ${type}`], violations: seen.body.length > 0 ? [] : ['the body is empty'] }
  }
  const lines = seen.body.toString().trim().split('\n')
  const values = type === 'application/x-ndjson' ? lines.map(line => JSON.parse(line)) : [seen.json()]
  const violations = values.flatMap(value =>
    fit(`${media}/schema`, value).map(error => `the body: ${error}: ${JSON.stringify(value).slice(0, 300)}`),
  )
  return {
    observed: [` ${type}`, ...values.flatMap(value => ('code' in value ? [` code ${value.code}`] : []))],
    violations,
  }
}

/** Collects the documented forms of all responses. */
function allPromises(reader: Reader): Set<string> {
  const promises = new Set<string>()
  const bases = [...reader.operations(), { name: 'elsewhere', pointer: '/x-elsewhere' }]
  for (const { name, pointer } of bases) {
    for (const status of reader.keys(`${pointer}/responses`)) {
      const response = `${pointer}/responses/${status}`
      const promise = (kind: string) => promises.add(`${name} ${status}${kind}`)
      promise('')
      for (const header of reader.keys(`${response}/headers`)) {
        promise(` header ${header.toLowerCase()}`)
        const { schema } = reader.at(`${response}/headers/${header}`).value as { schema: { enum?: string[] } }
        for (const value of schema.enum ?? []) promise(` header ${header.toLowerCase()}=${value}`)
      }
      for (const type of reader.keys(`${response}/content`)) {
        promise(` ${type}`)
        const code = reader.at(`${response}/content/${type.replace('/', '~1')}/schema/properties/code`).value
        for (const each of (code as { enum?: string[] } | undefined)?.enum ?? []) promise(` code ${each}`)
      }
    }
  }
  return promises
}

function pointerOf(names: readonly string[]): string {
  return names.map(name => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

function namesOf(pointer: string): string[] {
  const names = pointer.split('/').slice(1)
  return names.map(name => name.replaceAll('~1', '/').replaceAll('~0', '~'))
}
