// Writes src/client/api.ts, the types of the client's answers, from the schemas of openapi.yaml: node docs/client-types.mjs [--print] [--from FILE]
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parse } from 'yaml'

/** These, and what they refer to; one that the document does not have (yet) is left out. */
const SCHEMAS = ['Problem', 'Quote', 'Running', 'Usage', 'HeldImage', 'BatchItem', 'Rle']
const OUTPUT = 'src/client/api.ts'
const HEAD = '// Written by docs/client-types.mjs from the schemas of openapi.yaml: change them there.'
const SIMPLE = { integer: 'number', number: 'number', string: 'string', boolean: 'boolean', null: 'null' }
const MAX_TUPLE = 4

const { values: how } = parseArgs({
  options: { print: { type: 'boolean' }, from: { type: 'string', default: 'openapi.yaml' } },
})
const { components } = parse(readFileSync(how.from, 'utf8'))
const text = formatted([HEAD, ...declarations(components.schemas)].join('\n\n'))
if (how.print) process.stdout.write(text)
else writeFileSync(OUTPUT, text)

function formatted(source) {
  const biome = ['node_modules/@biomejs/biome/bin/biome', 'format', `--stdin-file-path=${OUTPUT}`]
  return execFileSync(process.execPath, biome, { input: source, encoding: 'utf8' })
}

function declarations(schemas) {
  const names = new Set(SCHEMAS.filter(name => name in schemas))
  const written = []
  // A set that grows is walked to its end.
  for (const name of names) {
    const schema = schemas[name]
    if (!schema) throw new Error(`openapi.yaml refers to ${name}, which it does not have`)
    const type = typeOf(schema, other => names.add(other))
    const isInterface = schema.properties && type.startsWith('{') && type.endsWith('}')
    written.push(`${docOf(schema)}export ${isInterface ? `interface ${name}` : `type ${name} =`} ${type}`)
  }
  return written
}

/** A schema as TypeScript writes it; `refer` is told every name it mentions. */
function typeOf(schema, refer) {
  const { $ref, const: value, enum: values, type } = schema
  if ($ref) {
    const name = $ref.split('/').at(-1)
    refer(name)
    return name
  }
  if (value !== undefined) return JSON.stringify(value)
  if (values) return values.map(one => JSON.stringify(one)).join(' | ')
  if (schema.oneOf ?? schema.anyOf) return joined(schema.oneOf ?? schema.anyOf, ' | ', refer)
  if (Array.isArray(type)) return type.map(one => typeOf({ ...schema, type: one }, refer)).join(' | ')
  if (schema.allOf) return allOf(schema, refer)
  if (type === 'array') return arrayOf(schema, refer)
  if (type === 'object' || schema.properties) return objectOf(schema, refer)
  return SIMPLE[type] ?? 'unknown'
}

function joined(schemas, sign, refer) {
  return schemas
    .map(schema => typeOf(schema, refer))
    .map(type => (sign === ' & ' && type.includes(' | ') ? `(${type})` : type))
    .join(sign)
}

/** What all of the schemas have, and what is said beside them. */
function allOf({ allOf: parts, ...beside }, refer) {
  return joined(beside.properties ? [...parts, beside] : parts, ' & ', refer)
}

/** A list of a few items of fixed number is a tuple. */
function arrayOf({ prefixItems, items, minItems, maxItems }, refer) {
  if (prefixItems) return `[${prefixItems.map(item => typeOf(item, refer)).join(', ')}]`
  const item = items ? typeOf(items, refer) : 'unknown'
  if (minItems !== undefined && minItems === maxItems && minItems <= MAX_TUPLE)
    return `[${Array(minItems).fill(item).join(', ')}]`
  return /^\w+$/.test(item) ? `${item}[]` : `(${item})[]`
}

function objectOf({ properties, required = [], additionalProperties }, refer) {
  const rest = typeof additionalProperties === 'object' ? typeOf(additionalProperties, refer) : 'unknown'
  if (!properties) return `Record<string, ${rest}>`
  const members = Object.entries(properties).map(([name, schema]) => {
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)
    return `${docOf(schema)}${key}${required.includes(name) ? '' : '?'}: ${typeOf(schema, refer)}`
  })
  const object = `{\n${members.join('\n')}\n}`
  return typeof additionalProperties === 'object' ? `${object} & Record<string, ${rest}>` : object
}

function docOf({ description }) {
  return description
    ? `/** ${description
        .trim()
        .replaceAll(/\s*\n\s*/g, ' ')
        .replaceAll('*/', '*\\/')} */\n`
    : ''
}
