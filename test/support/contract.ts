import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'
import type { Answer } from './raw-client.js'

type Node = Record<string, unknown>

/** An answer together with the request it belongs to; `path` has no query. */
export interface Seen extends Answer {
  method: string
  path: string
}

/** What one answer of the gateway may look like, as the document has it. */
interface Documented {
  /** The operations that promise it: `GET /usage`; every one of the path for a 405, since that is about the other methods. */
  operations: string[]
  pointer: string
}

export interface Contract {
  document: Node
  /** Documented `METHOD /path`, such as `POST /segment`. */
  operations: string[]
  /** Everything an answer has that the document does not say, or says otherwise; remembers what it has. */
  complaintsAbout(seen: Seen): string[]
  /** What the document promises and no answer had so far: operations with statuses, types, headers, codes, values of headers. */
  unseen(): string[]
  /** The codes that some documented answer may have. */
  codes(): Set<string>
  /** The values of a path into the document, `$ref`s followed. */
  at(...names: string[]): Node
}

/** Headers that belong to the connection or say what is written elsewhere: no part of the contract. */
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
  const kept = new Set<string>()

  const fit = (pointer: string, value: unknown): string[] => {
    const validate = ajv.getSchema(`${DOCUMENT}#${encodeURI(pointer)}`)
    if (!validate) throw new Error(`there is no schema at ${pointer}`)
    return validate(value) ? [] : (validate.errors ?? []).map(error => `${error.instancePath} ${error.message}`)
  }
  return {
    document,
    operations: reader.operations().map(({ name }) => name),
    complaintsAbout(seen) {
      const name = `${seen.method} ${seen.path} ${seen.status}`
      const documented = reader.find(seen)
      if (!documented) return [`${name} is not documented`]
      const observations = observe(seen, documented.pointer, reader, fit)
      for (const operation of documented.operations) {
        for (const kind of observations.kept) kept.add(`${operation} ${seen.status}${kind}`)
      }
      return observations.complaints.map(complaint => `${name}: ${complaint}`)
    },
    unseen: () => [...promises].filter(promise => !kept.has(promise)),
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
    // Beside a $ref of a schema stand other keywords: it is Ajv's to follow.
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

  const find = ({ method, path, status }: Seen): Documented | undefined => {
    const isPath = keys('/paths').includes(path)
    const ofPath = operations().filter(({ name }) => name.endsWith(` ${path}`))
    const own = ofPath.filter(({ name }) => name === `${method} ${path}`)
    const answering = status === 405 ? ofPath : own
    const bases = isPath ? answering : [{ name: 'elsewhere', pointer: '/x-elsewhere' }]
    const pointers = bases.map(({ pointer }) => `${pointer}/responses/${status}`).filter(pointer => at(pointer).value)
    const [pointer] = pointers
    if (pointer === undefined || pointers.length < bases.length) return undefined
    return { operations: bases.map(({ name }) => name), pointer: at(pointer).pointer }
  }
  return { at, keys, operations, find }
}

/** What an answer shows of what was promised, and what is wrong with it. */
function observe(seen: Seen, pointer: string, reader: Reader, fit: (pointer: string, value: unknown) => string[]) {
  const kept = ['']
  const complaints: string[] = []
  const documentedHeaders = new Map(reader.keys(`${pointer}/headers`).map(name => [name.toLowerCase(), name]))
  for (const [name, written] of documentedHeaders) {
    const header = reader.at(`${pointer}/headers/${written}`)
    const { required, schema } = header.value as { required?: boolean; schema: Node }
    const text = seen.headers[name]
    if (text === undefined && required) complaints.push(`the header ${name} is missing`)
    if (text === undefined) continue
    kept.push(` header ${name}`, ...(schema.enum ? [` header ${name}=${text}`] : []))
    const value = schema.type === 'integer' ? Number(text) : text
    complaints.push(...fit(`${header.pointer}/schema`, value).map(error => `the header ${name}, ${text},${error}`))
  }
  for (const name of Object.keys(seen.headers)) {
    if (!documentedHeaders.has(name) && !CONNECTION_LEVEL.has(name))
      complaints.push(`the header ${name} is undocumented`)
  }
  const body =
    seen.method === 'HEAD' || seen.status === 304 || seen.status === 204
      ? { kept: [], complaints: [] }
      : observeBody(seen, pointer, reader, fit)
  return { kept: [...kept, ...body.kept], complaints: [...complaints, ...body.complaints] }
}

function observeBody(seen: Seen, pointer: string, reader: Reader, fit: (pointer: string, value: unknown) => string[]) {
  const type = (seen.headers['content-type'] ?? '').split(';', 1)[0] ?? ''
  if (!reader.keys(`${pointer}/content`).includes(type)) {
    return { kept: [], complaints: [`the content type ${type} is not documented`] }
  }
  const media = pointerOf([...namesOf(pointer), 'content', type])
  if (!type.endsWith('json')) {
    return { kept: [` ${type}`], complaints: seen.body.length > 0 ? [] : ['the body is empty'] }
  }
  const lines = seen.body.toString().trim().split('\n')
  const values = type === 'application/x-ndjson' ? lines.map(line => JSON.parse(line)) : [seen.json()]
  const complaints = values.flatMap(value =>
    fit(`${media}/schema`, value).map(error => `the body: ${error}: ${JSON.stringify(value).slice(0, 300)}`),
  )
  return {
    kept: [` ${type}`, ...values.flatMap(value => ('code' in value ? [` code ${value.code}`] : []))],
    complaints,
  }
}

/** Everything the document says an answer may be. */
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
