const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
pre,code{font:14px/1.5 ui-monospace,monospace;background:#8882}pre{padding:.6rem;overflow-x:auto}h2{border-top:1px solid #8886;padding-top:1rem}
h2:target{background:#fc03}`

/** The runbook as a page: what alerts lead to. It knows as much of Markdown as docs/runbook.md uses. */
export function runbookPage(markdown: string): string {
  const blocks = markdown.split(/\n(```[\s\S]*?\n```)\n|\n{2,}/).filter(block => block?.trim())
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Runbook of segmind-gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${STYLE}</style>
</head><body>
${blocks.map(block => blockOf(block.trim())).join('\n')}
</body></html>`
}

function blockOf(text: string): string {
  const [first = '', ...rest] = text.split('\n')
  if (first.startsWith('```')) return `<pre>${escaped(rest.slice(0, -1).join('\n'))}</pre>`
  if (first.startsWith('# ')) return `<h1>${inline(first.slice(2))}</h1>`
  if (first.startsWith('## ')) return `<h2 id="${escaped(first.slice(3).toLowerCase())}">${inline(first.slice(3))}</h2>`
  if (!first.startsWith('- ')) return `<p>${inline(text)}</p>`
  const items = text.split(/^- /m).slice(1)
  return `<ul>${items.map(item => `<li>${inline(item.trim())}</li>`).join('')}</ul>`
}

/** Code first: what stands in it means nothing more. Of links only those within the page lead anywhere here. */
function inline(text: string): string {
  return text
    .split(/(`[^`]+`)/)
    .map(part => (part.startsWith('`') ? `<code>${escaped(part.slice(1, -1))}</code>` : wordsOf(part)))
    .join('')
}

function wordsOf(text: string): string {
  return escaped(text)
    .replace(/\[([^\]]+)\]\((#[\w-]+)\)/g, '<a href="$2">$1</a>')
    .replace(/\[([^\]]+)\]\([^)]+\)/g, 'docs/$1')
    .replace(/\*\*(.+?)\*\*/g, '<b>$1</b>')
    .replace(/\*(.+?)\*/g, '<i>$1</i>')
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}
