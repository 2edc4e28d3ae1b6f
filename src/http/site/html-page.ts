import { type Content, toContent } from './content.js'

/** A page of one file. */
export interface HtmlPage {
  title: string
  /** Added to the common style. */
  style: string
  body: string
}

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}'

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Renders a page that loads no other file. */
export function renderPage({ title, style, body }: HtmlPage): Content {
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${STYLE}
${style}</style>
</head><body>
${body}
</body></html>`
  return toContent(html, '.html', POLICY)
}
