import type { Contract } from '../support/gateway/contract.js'
import type { Random } from '../support/random.js'
import type { Case } from './case.js'
import { headerText, mutated, oddJson, oddText } from './values.js'
import type { FuzzRequest } from './wire.js'
import { ADMIN_KEY, codeOf, REQUESTED } from './world.js'

type Schema = Record<string, unknown>

interface Parameter {
  name: string
  in: 'header' | 'path' | 'query'
  required?: boolean
  schema: Schema
}

/** Sends a request in or near the contract of one of the documented operations. */
export async function openapiCase(fuzz: Case): Promise<void> {
  const { random, world } = fuzz
  const { contract } = world
  const operation = random.pick(contract.operations)
  const [method = '', template = ''] = operation.split(' ')
  const isNear = random.chance(0.5)
  const values = createValues(random, contract, {
    image: world.image.toString('base64'),
    isOdd: () => isNear && random.chance(0.15),
  })
  const { parameters = [], requestBody } = contract.at('paths', template, method.toLowerCase()) as {
    parameters?: Schema[]
    requestBody?: Schema
  }
  const known = parameters.map(parameter => values.resolve(parameter) as unknown as Parameter)
  const sent = known.filter(({ required }) => required || random.chance(0.5))
  const text = ({ schema }: Parameter) => {
    const value = values.of(schema)
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
  }
  const of = (place: Parameter['in']) => sent.filter(parameter => parameter.in === place)
  const path = template.replace(/\{(\w+)\}/g, (_, name) => {
    const parameter = known.find(each => each.in === 'path' && each.name === name)
    const value = parameter
      ? text(parameter)
      : random.pick([`${'0'.repeat(64)}.jpg?expires=1&signature=x`, oddText(random)])
    return parameter ? encodeURIComponent(value) || '-' : encodeURI(value) || '-'
  })
  const query = of('query').map(parameter => `${parameter.name}=${encodeURIComponent(text(parameter))}`)
  if (isNear && random.chance(0.1)) query.push(random.pick(['x=1', query[0] ?? '%zz', '&&', '=', '__proto__=1']))
  const request: FuzzRequest = {
    method: isNear && random.chance(0.03) ? random.pick(['PATCH', 'PUT', 'OPTIONS', 'TRACE', 'PROPFIND']) : method,
    path: path + (query.length > 0 ? `${path.includes('?') ? '&' : '?'}${query.join('&')}` : ''),
    template,
    headers: [
      ['host', 'x'],
      ['connection', 'close'],
      ...keyFor(fuzz, template),
      ...of('header').map(
        parameter => [parameter.name.toLowerCase(), headerText(random, text(parameter))] as [string, string],
      ),
    ],
  }
  if (requestBody) addBody(request, { random, values, isNear, content: values.resolve(requestBody).content as Schema })
  // The picture of the fake Segmind has other sides than the photo, so no cutout can be made of it.
  const isCutout = request.body?.includes('cutout') || request.path.includes('cutout')
  const answer = await fuzz.send(request, isCutout ? [...REQUESTED, 'upstream_failed'] : undefined)
  // A month that is not over cannot be closed, which no schema says.
  const isPlain =
    !isNear && !template.endsWith('/closing') && answer !== undefined && codeOf(answer) === 'invalid_request'
  fuzz.check(!isPlain, `a request in the contract got ${answer?.body.toString('latin1', 0, 300)}`)
}

function addBody(
  request: FuzzRequest,
  { random, values, isNear, content }: { random: Random; values: Values; isNear: boolean; content: Schema },
): void {
  const type = random.pick(Object.keys(content))
  const value = values.of((content[type] as { schema: Schema }).schema)
  const isForm = type === 'multipart/form-data' && typeof value === 'object' && value !== null
  const whole = Buffer.from(isForm ? formOf(value) : JSON.stringify(value))
  const body = isNear && random.chance(0.1) ? mutated(random, whole) : whole
  const fullType = isForm ? `${type}; boundary=frontier` : 'application/json'
  request.headers.push(['content-type', fullType], ['content-length', String(body.length)])
  request.body = body
}

function formOf(fields: object): string {
  const part = (name: string, text: string) =>
    `--frontier\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`
  const parts = Object.entries(fields).filter(([, value]) => value !== null)
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  return `${parts.map(([name, value]) => part(name.replace(/[\p{Cc}"]/gu, '?'), text(value))).join('')}--frontier--\r\n`
}

/** The key of the audience, and now and then another one. */
function keyFor({ random, world }: Case, path: string): [string, string][] {
  const { gateway } = world
  const usual = path.startsWith('/admin') ? ADMIN_KEY : gateway.key
  const others = [ADMIN_KEY, gateway.key, gateway.testKey, gateway.keys.poor ?? '', gateway.keys.gone ?? '', 'wrong']
  const key = random.chance(0.85) ? usual : random.pick(others)
  return random.chance(0.2) ? [['authorization', `Bearer ${key}`]] : [['x-api-key', key]]
}

interface Values {
  resolve(value: Schema): Schema
  /** Returns a value of the schema, or now and then one near it. */
  of(schema: Schema): unknown
}

const HEX = 'a'.repeat(64)
/** Texts for the patterns and formats of the document. */
const TEXTS: Readonly<Record<string, readonly string[]>> = {
  '^sha256:[0-9a-f]{64}$': [`sha256:${HEX}`],
  '^[0-9a-f]{64}$': [HEX, '0'.repeat(64)],
  '^\\d{4}-(0[1-9]|1[0-2])$': ['2026-11', '2020-02', '0000-01', '9999-12'],
  '^[a-z0-9-]{1,32}$': ['spare', 'a', '-', 'x'.repeat(32)],
  '^[\\x20-\\x7e]{1,255}$': ['a', 'order 1', '~'.repeat(255)],
  '^[\\w.:/+=@~-]{1,128}$': ['a', 'app/1', '~'.repeat(128)],
  uuid: ['00000000-0000-4000-8000-000000000000'],
  'date-time': ['2027-01-01T00:00:00Z', '2026-12-24T18:00:00+01:00', '1970-01-01T00:00:00Z'],
}
/** Values of members whose schema says less than their description. */
const MEMBERS: Readonly<Record<string, readonly unknown[]>> = {
  coordinates: ['[[3,2]]', '[4,5]'],
  remove_coordinates: ['[0,7]'],
  overlay_mask: ['true', 'Yes', '1'],
  base64: ['false', 'on', '0'],
  selections: ['[{"prompt":"a cup"}]', '[{"id":"1","coordinates":[1,2]},{"prompt":"a saucer"}]'],
  expires: ['90d', '2027-11-01'],
}

function createValues(
  random: Random,
  contract: Contract,
  { image, isOdd }: { image: string; isOdd(): boolean },
): Values {
  const resolve = (value: Schema): Schema => {
    if (typeof value.$ref !== 'string') return value
    const { $ref, ...own } = value
    return { ...resolve(contract.at(...$ref.slice(2).split('/'))), ...own }
  }
  const number = ({ minimum, maximum, type }: Schema): number => {
    const [low, high] = [Number(minimum ?? 0), Number(maximum ?? 1_000)]
    const any = [low, high, random.between(low, high), ...(type === 'number' ? [low + 0.5] : [])]
    return isOdd() ? random.pick([low - 1, high + 1, 1e21, -0.5]) : random.pick(any)
  }
  const string = ({ pattern, format, minLength = 0, maxLength = 20 }: Schema): string => {
    const texts = TEXTS[String(pattern ?? format)]
    if (texts) return random.pick(texts)
    const [low, high] = [Number(minLength), Number(maxLength)]
    return random
      .pick(['a', '\u00e9', '\u{1f600}'])
      .repeat(random.pick([Math.max(1, low), 1, Math.max(1, Math.floor(high / 2))]))
  }
  const list = ({ items, minItems = 0, maxItems = 3 }: Schema): unknown[] => {
    const most = Math.min(Number(maxItems), 3)
    const count = isOdd() ? random.pick([0, Number(maxItems) + 1]) : random.between(Number(minItems), most)
    return Array.from({ length: count }, () => of(items as Schema))
  }
  const object = ({ properties = {}, required = [] }: Schema): object => {
    const isNeeded = (name: string) => (required as string[]).includes(name)
    const names = Object.keys(properties as object).filter(name => (isNeeded(name) ? !isOdd() : random.chance(0.5)))
    const members = names.map(name => [name, member(name, (properties as Record<string, Schema>)[name] as Schema)])
    return Object.fromEntries(isOdd() ? [...members, [oddText(random), oddJson(random)]] : members)
  }
  const member = (name: string, schema: Schema): unknown => {
    const isText = resolve(schema).type === 'string'
    if (name === 'image' && !isOdd())
      return random.pick([image, image, `data:image/jpeg;base64,${image}`, `sha256:${HEX}`])
    return isText && MEMBERS[name] && !isOdd() ? random.pick(MEMBERS[name]) : of(schema)
  }
  const of = (unresolved: Schema): unknown => {
    if (isOdd()) return random.chance(0.5) ? oddText(random) : oddJson(random)
    const schema = resolve(unresolved)
    if ('const' in schema) return schema.const
    if (Array.isArray(schema.enum)) return random.pick(schema.enum)
    if (Array.isArray(schema.anyOf)) return of(random.pick(schema.anyOf as Schema[]))
    const type = Array.isArray(schema.type) ? random.pick(schema.type as string[]) : schema.type
    switch (type) {
      case 'object':
        return object(schema)
      case 'array':
        return list(schema)
      case 'number':
      case 'integer':
        return number({ ...schema, type })
      case 'boolean':
        return random.chance(0.5)
      case 'null':
        return null
      default:
        return string(schema)
    }
  }
  return { resolve, of }
}
