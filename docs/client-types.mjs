// Writes src/client/api.ts, the types of the client's answers, from the schemas of openapi.yaml.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { parse } from 'yaml'

const SCHEMAS = [
  'Problem',
  'ErrorCode',
  'Quote',
  'Running',
  'Usage',
  'HeldImage',
  'BatchItem',
  'Rle',
  'MaskFacts',
  'Bbox',
]
const OUTPUT = 'src/client/api.ts'

const { components } = parse(readFileSync('openapi.yaml', 'utf8'))
const seen = new Set()
const queue = [...SCHEMAS]
const written = []
for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
  if (seen.has(name)) continue
  seen.add(name)
  const schema = components.schemas[name]
  written.push(`${docOf(schema, '')}export type ${name} = ${typeOf(schema)}\n`)
}
writeFileSync(
  OUTPUT,
  `// Written by \`npm run docs\` from the schemas of openapi.yaml: change them there.\n\n${written.join('\n')}`,
)
execFileSync('npx', ['biome', 'check', '--write', OUTPUT], { stdio: ['ignore', 'ignore', 'inherit'] })

/** A schema as TypeScript writes it. */
function typeOf(schema) {
  if (schema.$ref) return named(schema.$ref)
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(' | ')
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return choices.map(typeOf).join(' | ')
  if (Array.isArray(schema.type)) return schema.type.map(type => typeOf({ ...schema, type })).join(' | ')
  if (schema.type === 'array') return arrayOf(schema)
  if (schema.type === 'object' || schema.properties) return objectOf(schema)
  return (
    { integer: 'number', number: 'number', string: 'string', boolean: 'boolean', null: 'null' }[schema.type] ??
    'unknown'
  )
}

/** A list of a few items of fixed number is a tuple. */
function arrayOf({ items, minItems, maxItems }) {
  const item = typeOf(items)
  if (minItems === maxItems && minItems <= 4) return `[${Array(minItems).fill(item).join(', ')}]`
  return /[|&]/.test(item) ? `(${item})[]` : `${item}[]`
}

function objectOf({ properties, required = [], additionalProperties }) {
  if (!properties) return `Record<string, ${additionalProperties ? typeOf(additionalProperties) : 'unknown'}>`
  const members = Object.entries(properties).map(([name, schema]) => {
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name)
    return `${docOf(schema, '  ')}  ${key}${required.includes(name) ? '' : '?'}: ${typeOf(schema)}`
  })
  return `{\n${members.join('\n')}\n}`
}

function docOf({ description }, indent) {
  return description ? `${indent}/** ${description.trim().replaceAll(/\s*\n\s*/g, ' ')} */\n` : ''
}

function named(ref) {
  const name = ref.split('/').at(-1)
  queue.push(name)
  return name
}
