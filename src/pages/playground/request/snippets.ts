import type { Selection } from '../../../client/index.js'

export type Language = 'curl' | 'node' | 'python'

export interface SnippetInput {
  /** URL of the gateway. */
  url: string
  fileName: string
  selection: Selection
  /** File name for the result. */
  savedAs: string
}

/** Returns a request as a program. It reads the key from SEGMIND_GATEWAY_KEY. */
export function snippetOf(language: Language, input: SnippetInput): string {
  return { curl, node, python }[language](input)
}

/** Returns the text fields of the form. */
function fieldsOf({ prompt, coordinates, removeCoordinates, output }: Selection): [name: string, value: string][] {
  const fields = {
    prompt,
    coordinates: coordinates && JSON.stringify(coordinates),
    remove_coordinates: removeCoordinates && JSON.stringify(removeCoordinates),
    output,
  }
  return Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
}

function curl({ url, fileName, selection, savedAs }: SnippetInput): string {
  // --form-string, because --form reads a value that begins with @ or < from a file.
  const fields = fieldsOf(selection).map(([name, value]) => `--form-string ${shellQuote(`${name}=${value}`)}`)
  const file = `image=@"${fileName.replace(/["\\]/g, '\\$&')}"`
  const lines = [
    `curl -sS -D - -o ${shellQuote(pathArgument(savedAs))} ${shellQuote(`${url}/segment`)}`,
    '-H "x-api-key: $SEGMIND_GATEWAY_KEY"',
    ...fields,
    `-F ${shellQuote(file)}`,
  ]
  return lines.join(' \\\n  ')
}

function node({ url, fileName, selection, savedAs }: SnippetInput): string {
  return `import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'

const form = new FormData()
${fieldsOf(selection)
  .map(([name, value]) => `form.set(${stringLiteral(name)}, ${stringLiteral(value)})\n`)
  .join('')}form.set("image", await openAsBlob(${stringLiteral(fileName)}), ${stringLiteral(fileName)})

const response = await fetch(${stringLiteral(`${url}/segment`)}, {
  method: 'POST',
  headers: { 'x-api-key': process.env.SEGMIND_GATEWAY_KEY },
  body: form,
})
if (!response.ok) throw new Error(await response.text())
console.log(response.headers.get('x-cache'), response.headers.get('x-cost'))
await writeFile(${stringLiteral(savedAs)}, new Uint8Array(await response.arrayBuffer()))
`
}

function python({ url, fileName, selection, savedAs }: SnippetInput): string {
  return `import os

import requests

with open(${stringLiteral(fileName)}, "rb") as image:
    response = requests.post(
        ${stringLiteral(`${url}/segment`)},
        headers={"x-api-key": os.environ["SEGMIND_GATEWAY_KEY"]},
        data={
${fieldsOf(selection)
  .map(([name, value]) => `            ${stringLiteral(name)}: ${stringLiteral(value)},\n`)
  .join('')}        },
        files={"image": image},
        timeout=90,
    )
if not response.ok:
    raise SystemExit(response.text)
print(response.headers["x-cache"], response.headers["x-cost"])
with open(${stringLiteral(savedAs)}, "wb") as file:
    file.write(response.content)
`
}

function shellQuote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** Keeps a file name that begins with a dash from being read as an option. */
function pathArgument(name: string): string {
  return name.startsWith('-') ? `./${name}` : name
}

/** Returns a string literal for both JavaScript and Python. */
function stringLiteral(value: string): string {
  return JSON.stringify(value)
}
