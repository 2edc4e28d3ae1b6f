/** What the person at the terminal needs to know after a start. */
export interface Started {
  url: string
  metricsUrl: string
  sandbox: boolean
  /** Of the team made by the first start. */
  key: string | undefined
  /** A photo of this repository, as a path that works where the command was typed. */
  photo: string
  store: string
}

/** The start-up block: where things are, a key, and lines that work as printed. */
export function startBlock(started: Started): string {
  const { url, metricsUrl, key = '<team key>', photo } = started
  const curl = (selection: string, file: string) =>
    `  curl -sS -o ${file} -D - ${url}/segment -H 'x-api-key: ${key}' -F image=@${photo} -F ${selection}`
  return [
    '',
    '────────────────────────────────────────────────────────────────────────',
    `  segmind-gateway is ready on ${url}`,
    `  upstream   ${started.sandbox ? 'the built-in SANDBOX (no SEGMIND_API_KEY is set): nothing is paid' : 'Segmind, with your key: misses are paid'}`,
    `  store      ${started.store}`,
    started.key
      ? `  team key   ${started.key}  (team demo)`
      : '  team key   make one with: node dist/main.js keys create <team>',
    `  API docs   ${url}/docs`,
    `  metrics    ${metricsUrl}/metrics`,
    '',
    '  By prompt:',
    curl("'prompt=the cup'", 'cup.jpg'),
    '  By points:',
    curl("'coordinates=[[300,200]]'", 'point.jpg'),
    '────────────────────────────────────────────────────────────────────────',
    '',
  ].join('\n')
}
